// A device of a program that means harm: what the program above it sends is changed now and then,
// under a seed.
//
// A field, or some bytes anywhere, get another value; a message is shorter, longer, or an earlier
// one again; data is written elsewhere; another key is named, or none. So whatever is sent fits
// into the conversation but for the lie, as deep in it as the program gets.
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
  // Hears each message as it goes out.
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
