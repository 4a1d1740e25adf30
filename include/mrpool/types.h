// Strong types for the numbers that cross the boundary between a program, its device and a peer.
//
// Thread safety: values.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace mrpool {

// Names a region to the local device. On iWARP it is a STag, the same number as the Rkey.
struct Lkey {
  uint32_t value = 0;
  friend auto operator<=>(const Lkey&, const Lkey&) = default;
};

// Names a region to a peer. It changes at every fast registration, so that a key of an earlier I/O
// does not open a later one (FastMr::advance_key).
struct Rkey {
  uint32_t value = 0;
  friend auto operator<=>(const Rkey&, const Rkey&) = default;
};

// An address in a peer's region: a virtual address, or an offset where the region is zero based.
struct RemoteAddr {
  uint64_t value = 0;
  friend auto operator<=>(const RemoteAddr&, const RemoteAddr&) = default;
};

// One local range. `lkey` names a live registration of the same Pd that covers it.
struct Sge {
  std::byte* addr = nullptr;
  uint32_t length = 0;  // bytes
  Lkey lkey{};
};

// A range in a peer's memory, as it travels in a capsule or a PDU.
struct RemoteBuffer {
  RemoteAddr addr{};
  uint64_t length = 0;  // bytes
  Rkey rkey{};
};

}  // namespace mrpool
