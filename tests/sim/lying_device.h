// A device that makes its program hostile: under a seed, it sometimes changes the messages that the
// program sends.
//
// A field or some bytes get another value. A message is shortened, lengthened, or replaced by an
// earlier one. Data is written elsewhere. Another key is used, or none. So each message fits the
// protocol state except for the change.
//
// Thread safety: one thread. Ownership: shares the Lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "mrpool/device.h"

namespace mrpool::sim {

class Lies {
 public:
  Lies(uint64_t seed, uint32_t per_thousand_in) : per_thousand(per_thousand_in), rng_(seed) {}

  uint32_t per_thousand;  // messages and writes that are changed
  // Receives each message that is sent.
  std::function<void(std::span<const std::byte> message)> sent = [](auto) {};

  bool due() { return below(1000) < per_thousand; }
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : rng_() % limit; }
  void change(std::vector<std::byte>& bytes);
  // A message that may be sent again.
  void remember(std::span<const std::byte> message);
  const std::vector<std::byte>& remembered();
  uint64_t told = 0;

 private:
  void change_field(std::vector<std::byte>& bytes);

  std::mt19937_64 rng_;
  std::vector<std::vector<std::byte>> earlier_;
};

std::shared_ptr<Device> make_lying_device(std::shared_ptr<Device> inner,
                                          std::shared_ptr<Lies> lies);

}  // namespace mrpool::sim
