// The version of these headers. It reads as C and as C++; CMakeLists.txt takes it from here.
//
// A program that is linked with the shared library may run with a later one: mrpool_version() is
// the version that runs. Within one MRPOOL_VERSION_MAJOR and soname the C interface (mrpool.h) only
// grows.
//
// Thread safety: any thread.
#pragma once

#include <stdint.h>

#define MRPOOL_VERSION_MAJOR 0
#define MRPOOL_VERSION_MINOR 1
#define MRPOOL_VERSION_PATCH 0
#define MRPOOL_VERSION_STRING "0.1.0"

// One number, to compare with: MRPOOL_VERSION >= MRPOOL_MAKE_VERSION(0, 2, 0).
#define MRPOOL_MAKE_VERSION(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
#define MRPOOL_VERSION \
  MRPOOL_MAKE_VERSION(MRPOOL_VERSION_MAJOR, MRPOOL_VERSION_MINOR, MRPOOL_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

// MRPOOL_VERSION and MRPOOL_VERSION_STRING of the library that is linked. The string is static.
uint32_t mrpool_version(void);
// As mrpool_version(), in words.
const char* mrpool_version_string(void);

#ifdef __cplusplus
}
#endif
