#include "pool/report.h"

#include <cstdio>
#include <cstdlib>

namespace mrpool::internal {

void report(const std::string& line) { std::fprintf(stderr, "mrpool: %s\n", line.c_str()); }

void fatal(const std::string& line) {
  report(line);
  std::abort();
}

}  // namespace mrpool::internal
