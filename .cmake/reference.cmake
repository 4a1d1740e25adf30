# The target reference: build/<preset>/reference/html, from the comments of the public headers.
configure_file(.cmake/Doxyfile.in ${CMAKE_BINARY_DIR}/Doxyfile @ONLY)
add_custom_target(reference COMMAND ${PROJECT_SOURCE_DIR}/.cmake/reference ${CMAKE_BINARY_DIR}
  USES_TERMINAL VERBATIM)
