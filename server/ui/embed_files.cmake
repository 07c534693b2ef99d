# cmake -DFOLDER=dir -DGZIP=program -DOUTPUT=ui_files.c -P embed_files.cmake: writes the table that
# ui_files.h declares: every page, style, script and picture of the folder, as it is and gzipped.
# The same files make the same bytes: gzip -n writes neither name nor time.
set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

# The file's bytes as a C array `name`.
function(array name file out)
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
         "\\1\n" bytes "${bytes}")
  set(${out} "static const unsigned char ${name}[] = {\n${bytes}\n};\n" PARENT_SCOPE)
endfunction()

file(GLOB files ${FOLDER}/*.html ${FOLDER}/*.css ${FOLDER}/*.js ${FOLDER}/*.svg)
set(arrays)
set(rows)
set(count 0)
foreach(file ${files})
  get_filename_component(name "${file}" NAME)
  string(REGEX REPLACE ".*\\." "" ending "${name}")
  execute_process(COMMAND ${GZIP} -9 -n -c "${file}" OUTPUT_FILE "${OUTPUT}.gz"
                  RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${GZIP} on ${file}: ${failed}")
  endif()
  array(file_${count} "${file}" plain)
  array(gzip_${count} "${OUTPUT}.gz" packed)
  file(SHA256 "${file}" hash)
  string(SUBSTRING "${hash}" 0 20 hash)
  set(path "/ui/${name}")
  if(name STREQUAL "index.html")
    set(path "/")
  endif()
  string(APPEND arrays "${plain}${packed}")
  string(APPEND rows "    {\"${path}\", \"${type_${ending}}\",\n"
         "     \"\\\"${hash}\\\"\", \"\\\"${hash}-gzip\\\"\",\n"
         "     file_${count}, gzip_${count}, sizeof file_${count}, sizeof gzip_${count}},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(REMOVE "${OUTPUT}.gz")
if(count EQUAL 0)
  message(FATAL_ERROR "no file to embed in ${FOLDER}")
endif()
file(WRITE "${OUTPUT}" "#include \"server/ui/ui_files.h\"\n${arrays}"
     "const uint32_t ui_file_count = ${count};\nconst struct ui_file ui_files[] = {\n${rows}};\n")
