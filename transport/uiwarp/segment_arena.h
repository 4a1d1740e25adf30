// Room for the segments of fast-registered keys, paid for when it is touched.
//
// A key may name hundreds of segments, and most keys name a few. So a FastMr keeps a few in itself
// and reserves the rest here: address space, whose pages appear when a mapping needs them. Mapping
// so takes no lock and no heap, cannot run out, and an MR costs what it has used. Pages that were
// touched go back to the system with their MR.
//
// Thread safety: any thread. Ownership: the device's; it outlives the MRs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class SegmentArena {
 public:
  SegmentArena() = default;
  ~SegmentArena();
  SegmentArena(const SegmentArena&) = delete;
  SegmentArena& operator=(const SegmentArena&) = delete;

  // Room for `count` segments, whose content is undefined; null: no address space.
  Segment* reserve(uint32_t count);
  // `touched`: something was written there since reserve().
  void release(Segment* room, uint32_t count, bool touched);

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<Segment*>> free_;  // by bytes
  std::vector<std::span<std::byte>> chunks_;
};

}  // namespace mrpool::uiwarp
