// The unpredictable part of keys.
//
// Thread safety: any thread. Without a seed nobody waits; with one there is a mutex.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <span>

namespace mrpool::uiwarp {

class KeyRandom {
 public:
  // The operating system's randomness; with a seed, bytes that are the same each time, for tests
  // and simulations.
  explicit KeyRandom(std::optional<uint64_t> seed);

  void fill(std::span<uint8_t> out);
  uint32_t number();

 private:
  std::mutex mutex_;
  std::optional<std::mt19937_64> repeatable_;
};

}  // namespace mrpool::uiwarp
