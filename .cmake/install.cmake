# Installation: the libraries and their headers, for find_package(mrpool) and pkg-config. Everything is
# found relative to where the package files are, so that the prefix may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/mrpool)
# mrpool/internal/thread_sanitizer.h
if(NOT MRPOOL_SANITIZE MATCHES "thread")
  set(unsanitized MRPOOL_UNSANITIZED)
  set(unsanitized_option " -DMRPOOL_UNSANITIZED")
  target_compile_definitions(mrpool INTERFACE $<INSTALL_INTERFACE:MRPOOL_UNSANITIZED>)
endif()
install(TARGETS mrpool EXPORT mrpool-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
if(MRPOOL_BUILD_SHARED)
  install(TARGETS mrpool_so LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
          NAMELINK_COMPONENT development)
endif()
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT mrpool-targets NAMESPACE mrpool:: DESTINATION ${package} COMPONENT development)
set(generated ${CMAKE_CURRENT_BINARY_DIR})
configure_package_config_file(.cmake/mrpool-config.cmake.in ${generated}/mrpool-config.cmake
  INSTALL_DESTINATION ${package} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${generated}/mrpool-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${generated}/mrpool-config.cmake ${generated}/mrpool-config-version.cmake
  DESTINATION ${package} COMPONENT development)

# From libdir/pkgconfig up to the prefix.
file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" up "${up}")
foreach(file mrpool.pc mrpool-c.pc mrpool-static.pc)
  configure_file(.cmake/${file}.in ${generated}/${file} @ONLY)
  install(FILES ${generated}/${file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
          COMPONENT development)
endforeach()
