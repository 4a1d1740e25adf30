// What a logical unit is: the facts INQUIRY, READ CAPACITY and MODE SENSE are built from.
//
// Thread safety: values. Units: blocks and bytes, as the names say.
#pragma once

#include <cstdint>
#include <string>

namespace mrpool::scsi {

struct UnitFacts {
  uint32_t block_size = 512;
  uint64_t blocks = 0;
  bool read_only = false;
  bool volatile_cache = false;  // the storage has one; SYNCHRONIZE CACHE means something
  bool thin = false;            // unmapped blocks are given back, and read as zeroes
  uint32_t max_transfer_blocks = 2048;
  uint64_t serial = 0;        // names the unit for good, unique among the targets of a machine
  std::string target_name{};  // iqn...
  uint16_t portal_group_tag = 1;

  uint64_t last_block() const { return blocks - 1; }
  // LBAs `lba` to `lba + count` exist. Written by subtraction: a sum could wrap.
  bool holds(uint64_t lba, uint64_t count) const { return lba <= blocks && count <= blocks - lba; }
};

// What one UNMAP may name; initiators split longer ones. libiscsi's suite wants a bound no higher.
inline constexpr uint32_t kMaxUnmapBlocks = 1u << 20;
inline constexpr uint32_t kMaxUnmapDescriptors = 128;
inline constexpr uint64_t kMaxWriteSameBlocks = 1u << 16;
inline constexpr uint32_t kMaxCompareBlocks = 255;  // what the CDB's one byte can say

}  // namespace mrpool::scsi
