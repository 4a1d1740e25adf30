// The eight bytes that an atomic of the peer works on: looked up when the request comes, so that a
// bad one ends the connection there and then, and again when it is carried out.
//
// Thread safety: the reactor of its Qp, inside a Quiescence section.
#pragma once

#include <cstddef>
#include <cstdint>

#include "transport/uiwarp/atomics.h"
#include "transport/uiwarp/key_error.h"

namespace mrpool::uiwarp {

struct AtomicTarget {
  KeyError error = KeyError::kNone;
  bool misplaced = false;  // not aligned to eight bytes, or in two pieces of memory

  bool refused() const { return error != KeyError::kNone || misplaced; }
  TerminateCode code() const {
    return error != KeyError::kNone ? source_error(error) : term::kStreamCatastrophic;
  }
};

// `at`: the memory, where it is not refused.
inline AtomicTarget find_atomic_target(const KeyTable& keys, const KeyUser& user,
                                       const AtomicRequest& request, std::byte*& at) {
  KeyRange range;
  KeyError error = keys.resolve_remote(request.stag, request.offset, kAtomicBytes,
                                       Access::kRemoteAtomic, user, range);
  if (error == KeyError::kNone && !bases_live(range, kAtomicBytes)) error = KeyError::kInvalid;
  if (error != KeyError::kNone) return {.error = error};
  size_t whole = 0;
  visit_memory(range, kAtomicBytes, [&](std::byte* memory, size_t bytes) {
    at = memory;
    whole = bytes;
    return false;
  });
  return {.misplaced =
              whole != kAtomicBytes || reinterpret_cast<uintptr_t>(at) % kAtomicBytes != 0};
}

}  // namespace mrpool::uiwarp
