// Structs that carry their size, so that programs and libraries of different versions understand
// each other: what a program does not know of is 0 to the library, and the other way round.
//
// Thread safety: functions of their arguments.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "transport/c/error.h"

namespace mrpool::c {

// No struct of this or a later version is larger; what claims to be was never set.
inline constexpr size_t kLargestStruct = 4096;

// Reads a program's struct. -E2BIG: it has something in a part that this library does not know.
template <typename Struct>
int read(const Struct* from, Struct& to, const char* name) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, size) == 0);
  if (from == nullptr) return is_null(name);
  if (from->size < sizeof from->size) {
    return failed(EINVAL, absl::StrCat(name, "->size is ", from->size,
                                       ", not the size of the struct: set it to sizeof"));
  }
  if (from->size > kLargestStruct) {
    return failed(E2BIG, absl::StrCat(name, "->size is ", from->size, ": set it to sizeof"));
  }
  to = {};
  std::memcpy(&to, from, std::min(from->size, sizeof to));
  const auto* const begin = reinterpret_cast<const unsigned char*>(from);
  for (size_t i = sizeof to; i < from->size; ++i) {
    if (begin[i] == 0) continue;
    return failed(E2BIG, absl::StrCat(name, " is of a later version (", from->size,
                                      " bytes) and uses what this library does not know"));
  }
  return 0;
}

// Fills a program's struct as far as it goes.
template <typename Struct>
int write(Struct* to, Struct from, const char* name) {
  if (to == nullptr) return is_null(name);
  const bool too_large = to->size > kLargestStruct;
  if (to->size < sizeof to->size || too_large) {
    return failed(too_large ? E2BIG : EINVAL,
                  absl::StrCat(name, "->size is ", to->size,
                               ", not the size of the struct: set it to sizeof"));
  }
  from.size = to->size;
  std::memset(static_cast<void*>(to), 0, from.size);
  std::memcpy(static_cast<void*>(to), &from, std::min(from.size, sizeof from));
  return 0;
}

template <typename Number>
constexpr Number or_default(Number value, Number otherwise) {
  return value != 0 ? value : otherwise;
}

}  // namespace mrpool::c
