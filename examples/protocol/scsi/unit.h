// What a logical unit is: the facts INQUIRY, READ CAPACITY and MODE SENSE are built from.
//
// Thread safety: values. Units: blocks and bytes, as named.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace mrpool::scsi {

// Of `blocks`, LBAs `lba` to `lba + count` exist. By subtraction: a sum could wrap.
constexpr bool holds(uint64_t blocks, uint64_t lba, uint64_t count) {
  return lba <= blocks && count <= blocks - lba;
}

struct UnitFacts {
  uint32_t block_size = 512;
  uint64_t blocks = 0;  // at first; LogicalUnit::blocks() has how many there are now
  bool read_only = false;
  bool volatile_cache = false;  // the storage has one; SYNCHRONIZE CACHE means something
  bool thin = false;            // unmapped blocks are given back, and read as zeroes
  bool marks = false;           // blocks can be marked as uncorrectable: WRITE LONG
  uint32_t max_transfer_blocks = 2048;
  // They name the store, wherever it is served.
  std::string serial{};            // of printable ASCII, at most kMaxSerial
  std::vector<uint8_t> naa{};      // 8 bytes, or 16 of NAA 6 (SPC-4 §7.8.6.6)
  std::array<uint8_t, 16> uuid{};  // of its own designator
  std::string target_name{};       // iqn...
  uint16_t portal_group_tag = 1;
  uint16_t relative_port = 1;  // RELATIVE TARGET PORT IDENTIFIER
  uint16_t port_group = 1;     // TARGET PORT GROUP
  bool explicit_alua = true;   // SET TARGET PORT GROUPS is supported
};

// How long initiators wait in the state "transitioning".
inline constexpr uint8_t kTransitionSeconds = 10;

// Of the unit serial number.
inline constexpr size_t kMaxSerial = 64;

// What one UNMAP may name; initiators split longer ones. libiscsi's suite wants a bound no higher.
inline constexpr uint32_t kMaxUnmapBlocks = 1u << 20;
inline constexpr uint32_t kMaxUnmapDescriptors = 128;
inline constexpr uint64_t kMaxWriteSameBlocks = 1u << 16;
inline constexpr uint32_t kMaxCompareBlocks = 255;  // what the CDB's one byte can say

}  // namespace mrpool::scsi
