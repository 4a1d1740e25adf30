// How long a SEND waits for a receive of its peer: rnr_retry of the sender times min_rnr_timer of
// the receiver, as InfiniBand counts it.
//
// Thread safety: pure.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

namespace mrpool::provider {

inline constexpr uint8_t kRetryForEver = 7;
// A device in software shares its processor with the programs, so it gives them more time than a
// NIC would.
inline constexpr std::chrono::seconds kLeastReceiveWait{3};

// The time that an encoded RNR NAK timer stands for (InfiniBand architecture, vol. 1, table 46).
inline std::chrono::microseconds rnr_timer(uint8_t min_rnr_timer) {
  constexpr std::array<uint32_t, 32> kTensOfMicroseconds = {
      65536, 1,    2,    3,    4,    6,     8,     12,    16,    24,   32,
      48,    64,   96,   128,  192,  256,   384,   512,   768,   1024, 1536,
      2048,  3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152};
  return std::chrono::microseconds(10) * kTensOfMicroseconds[min_rnr_timer % 32];
}

inline std::chrono::nanoseconds receive_wait(uint8_t rnr_retry, uint8_t min_rnr_timer) {
  if (rnr_retry >= kRetryForEver) return std::chrono::nanoseconds::max();
  return std::max<std::chrono::nanoseconds>(kLeastReceiveWait,
                                            rnr_retry * rnr_timer(min_rnr_timer));
}

// The eight bytes of the peer's memory in which a QP announces what it has: the receives that it
// has posted so far, and its rnr_retry. Zero, the value before the first such WRITE, announces
// neither a receive nor a limit.
struct Told {
  static constexpr int kRetryAt = 56;
  uint64_t receives = 0;
  uint8_t rnr_retry = kRetryForEver;

  uint64_t packed() const {
    return uint64_t{static_cast<uint8_t>(kRetryForEver - std::min(rnr_retry, kRetryForEver))}
               << kRetryAt |
           receives;
  }
  static Told from(uint64_t packed) {
    const auto lacking = static_cast<uint8_t>(packed >> kRetryAt);
    return {packed & ((uint64_t{1} << kRetryAt) - 1),
            static_cast<uint8_t>(kRetryForEver - std::min(lacking, kRetryForEver))};
  }
};

}  // namespace mrpool::provider
