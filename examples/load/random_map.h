// Every number below a bound once, in an order that looks random: fio's random map, without a bit
// for each block. A Feistel network of four rounds permutes the next larger power of four, and what
// falls outside is permuted again until it is inside.
//
// Thread safety: a value.
#pragma once

#include <bit>
#include <cstdint>

namespace mrpool::load {

class RandomMap {
 public:
  // Requires bound > 0.
  RandomMap(uint64_t bound, uint64_t seed)
      : bound_(bound),
        seed_(seed),
        half_bits_((std::bit_width(bound - 1) + 1) / 2),
        half_mask_((uint64_t{1} << half_bits_) - 1) {}

  // The number at `index` (below the bound) of pass number `pass`; each pass has another order.
  uint64_t at(uint64_t index, uint64_t pass) const {
    do {
      index = permute(index, pass);
    } while (index >= bound_);
    return index;
  }

 private:
  uint64_t permute(uint64_t value, uint64_t pass) const {
    uint64_t left = value >> half_bits_;
    uint64_t right = value & half_mask_;
    uint64_t key = seed_ + pass * 0x9e3779b97f4a7c15u;
    for (int round = 0; round < 4; ++round, key += 0xd1b54a32d192ed03u) {
      uint64_t mixed = (right ^ key) * 0xbf58476d1ce4e5b9u;
      mixed = (mixed ^ mixed >> 29) * 0x94d049bb133111ebu;
      const uint64_t next = left ^ (mixed >> 32 & half_mask_);
      left = right;
      right = next;
    }
    return left << half_bits_ | right;
  }

  uint64_t bound_;
  uint64_t seed_;
  int half_bits_;
  uint64_t half_mask_;
};

}  // namespace mrpool::load
