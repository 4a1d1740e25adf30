// What is known of received bytes that no polled completion orders yet: what brought them and into
// which region. The findings of all guards describe it in the same words.
//
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mrpool::checker {

struct ReceivedBytes {
  enum class Brought : uint8_t { kWrite, kRead, kSend };
  Brought brought = Brought::kWrite;
  uint32_t qp = 0;
  uintptr_t region = 0;  // its start
  size_t region_bytes = 0;
  uint32_t lkey = 0;

  bool operator==(const ReceivedBytes&) const = default;
};

// "an RDMA WRITE of the peer over QP 0x803b01; ... orders it and was not polled yet"
std::string origin_of(const ReceivedBytes& bytes);
// The text of a finding: `how` is "a load of", `address` what was touched.
std::string text_of(std::string_view how, uintptr_t address, const ReceivedBytes& bytes);

// As one word, for a description that a program reads again. Without characters that XML escapes.
std::string to_word(const ReceivedBytes& bytes);
// The first such word in `text`, and where it is.
struct FoundBytes {
  ReceivedBytes bytes;
  size_t begin = 0;
  size_t end = 0;
};
std::optional<FoundBytes> find_word(std::string_view text);

}  // namespace mrpool::checker
