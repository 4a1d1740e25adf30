// T10-DIF done a second time, a bit at a time, to compare with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mrpool/integrity.h"

namespace mrpool::reference {

// SBC-4: the remainder of the message times x^16, divided by 0x18bb7.
inline uint16_t crc(std::span<const std::byte> message, uint16_t seed = 0) {
  uint16_t remainder = seed;
  for (const std::byte each : message) {
    for (int bit = 7; bit >= 0; --bit) {
      const bool in = (std::to_integer<unsigned>(each) >> bit & 1) != 0;
      const bool out = (remainder & 0x8000) != 0;
      remainder = static_cast<uint16_t>(remainder << 1);
      if (in != out) remainder ^= 0x8bb7;
    }
  }
  return remainder;
}

// The eight bytes after a block.
inline std::vector<std::byte> tuple(uint16_t guard, uint16_t app_tag, uint32_t ref_tag) {
  return {std::byte(guard >> 8),   std::byte(guard),         std::byte(app_tag >> 8),
          std::byte(app_tag),      std::byte(ref_tag >> 24), std::byte(ref_tag >> 16),
          std::byte(ref_tag >> 8), std::byte(ref_tag)};
}

// The tuples of all blocks of `data`.
inline std::vector<std::byte> tuples(const IntegrityDomain& domain, uint32_t block_size,
                                     std::span<const std::byte> data) {
  std::vector<std::byte> all;
  for (uint32_t block = 0; size_t{block} * block_size < data.size(); ++block) {
    const uint16_t guard =
        crc(data.subspan(size_t{block} * block_size, block_size), domain.guard_seed);
    const auto one =
        tuple(guard, domain.app_tag, domain.ref_tag + (domain.ref_tag_increments ? block : 0));
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

// Blocks as on the wire, each followed by its tuple.
inline std::vector<std::byte> interleave(uint32_t block_size, std::span<const std::byte> data,
                                         std::span<const std::byte> tuples) {
  std::vector<std::byte> all;
  for (size_t block = 0; block * block_size < data.size(); ++block) {
    const auto one = data.subspan(block * block_size, block_size);
    all.insert(all.end(), one.begin(), one.end());
    if (tuples.empty()) continue;
    const auto its = tuples.subspan(block * kTupleBytes, kTupleBytes);
    all.insert(all.end(), its.begin(), its.end());
  }
  return all;
}

}  // namespace mrpool::reference
