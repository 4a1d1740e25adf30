#include "transport/checker/guard/regions.h"

#include <pthread.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace mrpool::guard {
namespace {

bool overlap(const Range& a, const Range& b) { return a.begin < b.end && b.begin < a.end; }

Range own_stack() {
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return {};
  void* start = nullptr;
  size_t bytes = 0;
  ::pthread_attr_getstack(&attributes, &start, &bytes);
  ::pthread_attr_destroy(&attributes);
  return range_of(start, bytes);
}

}  // namespace

bool is_plain_memory(Range memory) {
  if (overlap(memory, own_stack())) return false;
  std::ifstream maps("/proc/thread-self/maps");
  uintptr_t known = memory.begin;
  for (std::string line; known < memory.end && std::getline(maps, line);) {
    std::istringstream words(line);
    Range mapping;
    char dash = 0;
    std::string rights;
    words >> std::hex >> mapping.begin >> dash >> mapping.end >> rights;
    if (!overlap(mapping, memory)) continue;
    if (mapping.begin > known || !rights.starts_with("rw-")) return false;
    if (line.ends_with("[stack]")) return false;
    known = mapping.end;
  }
  return known >= memory.end;
}

}  // namespace mrpool::guard
