// The protocol of the simulated initiators and the simulated target: a block store in three
// messages.
//
// A command has a block range and lends memory for it by a fast-registered key. The target reads or
// writes that memory by RDMA and answers; the answer usually invalidates the key. NVMe-oF and iSER
// do the same, with their own encodings.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "mrpool/types.h"

namespace mrpool::sim {

inline constexpr uint32_t kBlockBytes = 512;

enum class Command : uint32_t { kRead, kWrite };

// Private data of a connection request. An initiator that reconnects replaces its earlier
// connection (as in iSCSI, RFC 7143 6.3.5): the target ends that one, waits for its storage I/O,
// and only then accepts. Otherwise an old write could overwrite a newer one.
struct Hello {
  uint32_t initiator = 0;
};

struct Request {
  uint32_t id = 0;  // unique on its connection
  Command command = Command::kRead;
  uint32_t block = 0;
  uint32_t count = 0;
  RemoteBuffer memory;
};

struct Response {
  uint32_t id = 0;
  uint32_t failed = 0;  // the storage could not; a write may have been carried out in part
};

// The contents of a block: every 8 bytes have the number of the block and of the write.
inline void stamp(std::span<std::byte> block, uint32_t number, uint32_t version) {
  for (uint32_t i = 0; i < kBlockBytes / 8; ++i) {
    const uint64_t word = uint64_t{version} << 32 | uint64_t{number} << 8 | (i & 0xff);
    std::memcpy(block.data() + i * 8, &word, 8);
  }
}

// The version of a block; false if it is torn or has another block's content.
inline bool read_stamp(std::span<const std::byte> block, uint32_t number, uint32_t& version) {
  uint64_t first;
  std::memcpy(&first, block.data(), 8);
  version = static_cast<uint32_t>(first >> 32);
  for (uint32_t i = 0; i < kBlockBytes / 8; ++i) {
    uint64_t word;
    std::memcpy(&word, block.data() + i * 8, 8);
    if (word != (uint64_t{version} << 32 | uint64_t{number} << 8 | (i & 0xff))) return false;
  }
  return true;
}

}  // namespace mrpool::sim
