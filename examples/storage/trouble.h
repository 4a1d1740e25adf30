// What went wrong with the requests of a channel since somebody asked: how many failed, the last of
// them, and how long the slowest took. Kept without formatting anything; who asks reports it.
//
// Thread safety: the channel's thread. Ownership: values.
#pragma once

#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::storage {

enum class Op : uint8_t;
enum class Error : uint8_t;

struct Trouble {
  uint64_t errors = 0;
  Error error{};  // of the last that failed
  Op op{};
  uint64_t offset = 0;
  uint64_t length = 0;
  Nanoseconds longest{};  // of all that are done
  Op longest_op{};

  bool empty() const { return errors == 0 && longest == Nanoseconds{}; }
  // `other` is the later one.
  void add(const Trouble& other) {
    if (other.errors != 0) {
      errors += other.errors;
      error = other.error;
      op = other.op;
      offset = other.offset;
      length = other.length;
    }
    if (other.longest > longest) {
      longest = other.longest;
      longest_op = other.longest_op;
    }
  }
};

}  // namespace mrpool::storage
