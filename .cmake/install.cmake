# Installation: the library and its public headers, for find_package(mrpool) and pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS mrpool mrpool_flags EXPORT mrpool-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/mrpool DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT mrpool-targets NAMESPACE mrpool:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mrpool)
configure_package_config_file(.cmake/mrpool-config.cmake.in
  ${CMAKE_BINARY_DIR}/mrpool-config.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mrpool)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mrpool-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mrpool-config.cmake ${CMAKE_BINARY_DIR}/mrpool-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mrpool)
configure_file(.cmake/mrpool.pc.in ${CMAKE_BINARY_DIR}/mrpool.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/mrpool.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
