// The version that runs, for programs that were compiled with another one's headers.
#include "mrpool/version.h"

uint32_t mrpool_version() { return MRPOOL_VERSION; }

const char* mrpool_version_string() { return MRPOOL_VERSION_STRING; }
