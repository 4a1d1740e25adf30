#include "transport/uiwarp/key_random.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "transport/uiwarp/check.h"

namespace mrpool::uiwarp {

namespace {

// Bytes drawn ahead, so that few calls reach the kernel. A thread's own: nobody waits for another.
class Batch {
 public:
  void take(std::span<uint8_t> out) {
    while (!out.empty()) {
      if (left_ == 0) draw();
      const size_t bytes = std::min(left_, out.size());
      left_ -= bytes;
      std::memcpy(out.data(), bytes_.data() + left_, bytes);
      out = out.subspan(bytes);
    }
  }

 private:
  void draw() {
    // Up to 256 bytes come whole once the kernel's generator has been seeded (getrandom(2)).
    ssize_t got;
    do {
      got = ::getrandom(bytes_.data(), bytes_.size(), 0);
    } while (got < 0 && errno == EINTR);
    check(got == static_cast<ssize_t>(bytes_.size()), "there is no randomness for keys");
    left_ = bytes_.size();
  }

  std::array<uint8_t, 256> bytes_;
  size_t left_ = 0;
};

}  // namespace

KeyRandom::KeyRandom(std::optional<uint64_t> seed) {
  if (seed) repeatable_.emplace(*seed);
}

void KeyRandom::fill(std::span<uint8_t> out) {
  if (repeatable_) {
    const std::lock_guard lock(mutex_);
    for (uint8_t& byte : out) byte = static_cast<uint8_t>((*repeatable_)());
    return;
  }
  thread_local Batch batch;
  batch.take(out);
}

uint32_t KeyRandom::number() {
  std::array<uint8_t, 4> bytes;
  fill(bytes);
  uint32_t number;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

}  // namespace mrpool::uiwarp
