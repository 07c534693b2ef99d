# What `cmake --install` lays down, and the .deb made of it (cpack -G DEB, or deploy/package.sh).
#
#     bin/                            moering, moering-client, moering-bench
#     share/moering/models/tiny       the model that is served when none is named
#     share/moering/{prometheus,grafana}  rules and boards
#     share/doc/moering               documents, the licence as Debian names it
#     lib/systemd/system              the unit
#     PREFIX/etc/moering, /etc/moering under /usr    settings
#
# The unit and the place of the settings follow the prefix at the time of the install, so one build
# folder serves `cmake --install --prefix` and cpack. The place of the built-in model is compiled
# in: configure with -DCMAKE_INSTALL_PREFIX=/usr for a package.
include(GNUInstallDirs)

set(programs moering moering-client)
if(TARGET moering-bench)
  list(APPEND programs moering-bench)
endif()
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY deploy/models deploy/prometheus deploy/grafana
        DESTINATION ${CMAKE_INSTALL_DATADIR}/moering)
install(FILES README.md ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME deploy.md)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

install(CODE "set(unit_template \"${CMAKE_SOURCE_DIR}/deploy/systemd/moering.service.in\")
set(unit_made \"${CMAKE_BINARY_DIR}/moering.service\")
set(bindir \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
set(docdir \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}\")
set(settings \"${CMAKE_SOURCE_DIR}/deploy/moering.yaml\")")
install(CODE [[
  set(confdir "${CMAKE_INSTALL_PREFIX}/etc/moering")
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(confdir /etc/moering)
  endif()
  configure_file("${unit_template}" "${unit_made}" @ONLY)
  file(INSTALL "${unit_made}" DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
  # Settings that are there already are somebody's; a package has dpkg for that.
  if(NOT "$ENV{DESTDIR}" STREQUAL "" OR NOT EXISTS "${confdir}/moering.yaml")
    file(INSTALL "${settings}" DESTINATION "${confdir}")
  endif()
]])

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME moering)
set(CPACK_PACKAGE_VENDOR "The moering authors")
set(CPACK_PACKAGE_CONTACT "The moering authors <moering@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "inference server for Mixture-of-Experts models")
set(CPACK_PACKAGE_DESCRIPTION
"Serves Mixture-of-Experts models that do not fit in GPU memory, or without a GPU.
Experts are paged between storage, host memory and a ring of slots where compute
happens. Speaks the OpenAI API over HTTP, gRPC, and Prometheus' text format.")
set(CPACK_SET_DESTDIR ON) # or settings outside the prefix would go into this machine's /etc
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/deploy/package/conffiles ${CMAKE_SOURCE_DIR}/deploy/package/postinst
    ${CMAKE_SOURCE_DIR}/deploy/package/prerm ${CMAKE_SOURCE_DIR}/deploy/package/postrm)
if(cuda_wanted)
  set(CPACK_PACKAGE_NAME moering-cuda)
  set(CPACK_DEBIAN_PACKAGE_PROVIDES moering)
  set(CPACK_DEBIAN_PACKAGE_CONFLICTS moering)
  set(CPACK_DEBIAN_PACKAGE_REPLACES moering)
endif()
include(CPack)
