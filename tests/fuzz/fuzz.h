// What every fuzz target uses: an always-on check, and a reader that turns input into choices.
//
// A target defines LLVMFuzzerTestOneInput. The fuzz preset links it with libFuzzer; a build
// without sanitizers links it with replay.cc, which runs the corpus through it as an ordinary test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

// An invariant of a fuzz target: aborts, so that the fuzzer keeps the input.
#define FUZZ_CHECK(condition)                                                                \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

namespace mrpool::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
inline std::span<const std::byte> bytes_of(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}

// Takes numbers off the front of the input; zeroes when there is none left.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(data, size) {}

  bool empty() const { return left_.empty(); }
  template <typename T>
  T take() {
    T value{};
    const size_t n = sizeof(T) < left_.size() ? sizeof(T) : left_.size();
    if (n > 0) std::memcpy(&value, left_.data(), n);
    left_ = left_.subspan(n);
    return value;
  }
  // At most `most` bytes.
  std::span<const std::byte> take_bytes(size_t most) {
    const size_t n = most < left_.size() ? most : left_.size();
    const std::span<const uint8_t> front = left_.first(n);
    left_ = left_.subspan(n);
    return std::as_bytes(front);
  }
  // Writes at most out.size() bytes to the front of `out` and returns how many.
  size_t fill(std::span<std::byte> out) {
    const std::span<const std::byte> bytes = take_bytes(out.size());
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return bytes.size();
  }
  std::span<const std::byte> rest() { return take_bytes(left_.size()); }

 private:
  std::span<const uint8_t> left_;
};

}  // namespace mrpool::fuzz
