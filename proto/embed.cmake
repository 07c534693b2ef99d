# cmake -DINPUT=file -DOUTPUT=path -DSYMBOL=name -P embed.cmake: writes path.c and path.h, which
# hold the bytes of the file as `const unsigned char name[]` and their number as `name_bytes`.
file(READ "${INPUT}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR count "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
       "\\1\n" bytes "${bytes}")
string(TOUPPER "${SYMBOL}_H" guard)
get_filename_component(header "${OUTPUT}" NAME)
file(WRITE "${OUTPUT}.h"
"#ifndef ${guard}
#define ${guard}
#include <stddef.h>
#ifdef __cplusplus
extern \"C\" {
#endif
extern const unsigned char ${SYMBOL}[];
extern const size_t ${SYMBOL}_bytes;
#ifdef __cplusplus
}
#endif
#endif
")
file(WRITE "${OUTPUT}.c"
"#include \"${header}.h\"
const size_t ${SYMBOL}_bytes = ${count};
const unsigned char ${SYMBOL}[] = {
${bytes}
};
")
