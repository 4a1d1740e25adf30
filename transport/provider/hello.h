// What two providers exchange in the private data of a connection, before the program's own.
//
// 40 bytes: "mrpV", version, flags, min_rnr_timer, one reserved, QP number of the sender, QP number
// it wants to reach (0: the connection is rdma_cm's), then the sender's receive credits. The
// credits are how many SENDs the peer may start at once, and where the peer writes how many it may
// have started in total since. All numbers are big endian. Private data without the mark is a
// foreign device's: no credits.
//
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mrpool::provider {

struct Hello {
  static constexpr size_t kBytes = 40;

  bool credits = false;       // false: the sender's receives are not counted (it uses an SRQ)
  uint8_t min_rnr_timer = 0;  // of the sender, as InfiniBand encodes it
  uint32_t source_qp = 0;
  uint32_t target_qp = 0;
  uint32_t receives = 0;     // SENDs that the peer may start
  uint32_t credit_rkey = 0;  // of eight bytes of the sender's memory
  uint64_t credit_addr = 0;

  friend bool operator==(const Hello&, const Hello&) = default;
};

std::vector<std::byte> encode(const Hello& hello, std::span<const std::byte> private_data);

// Takes the hello off the front of `private_data`. Empty: there is none, nothing is taken.
std::optional<Hello> take_hello(std::span<const std::byte>& private_data);

}  // namespace mrpool::provider
