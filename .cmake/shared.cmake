# libmrpool.so.0 from the static library's objects, and the targets that name the libraries:
#
#   mrpool::mrpool   C++, the static library
#   mrpool::shared   C++, libmrpool.so.0
#   mrpool::c        C (mrpool.h), libmrpool.so.0
add_library(mrpool_so SHARED $<TARGET_OBJECTS:mrpool>)
set_target_properties(mrpool_so PROPERTIES
  OUTPUT_NAME mrpool VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/lib
  LINKER_LANGUAGE CXX LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/exports.map)
target_include_directories(mrpool_so INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(mrpool_so PRIVATE mrpool_flags absl::status absl::statusor absl::strings
  absl::random_random Threads::Threads PkgConfig::libibverbs PkgConfig::librdmacm
  PkgConfig::liburing PkgConfig::libisal PkgConfig::openssl)
# Functions bind inside the library. Variables do not: the pools' thread-local tables are one for the
# program and the library.
target_link_options(mrpool_so PRIVATE -Wl,-Bsymbolic-functions
  -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map)
if(NOT MRPOOL_SANITIZE)
  target_link_options(mrpool_so PRIVATE -Wl,-z,defs)
endif()
add_library(mrpool::c ALIAS mrpool_so)

add_library(mrpool_shared INTERFACE)
target_link_libraries(mrpool_shared INTERFACE mrpool_so absl::status absl::statusor Threads::Threads)
target_compile_definitions(mrpool_shared INTERFACE BOOST_ASIO_HAS_IO_URING BOOST_ASIO_NO_DEPRECATED)
target_compile_features(mrpool_shared INTERFACE cxx_std_20)
add_library(mrpool::shared ALIAS mrpool_shared)
