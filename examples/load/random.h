// The load generator's random numbers: splitmix64, seeded, a few cycles a draw.
//
// Thread safety: distinct objects: safe.
#pragma once

#include <cstdint>

namespace mrpool::load {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, bound), with a bias below 2^-32 for bounds the size of a disk in blocks.
  uint64_t below(uint64_t bound) {
    return uint64_t((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

}  // namespace mrpool::load
