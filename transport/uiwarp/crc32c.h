// CRC32C as MPA uses it (RFC 5044 §4.4): start all ones, inverted at the end, sent little-endian
// over length field, ULPDU and padding. ISA-L does the arithmetic.
//
// Thread safety: values.
#pragma once

#include <isa-l/crc.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace mrpool::uiwarp {

// Feed the bytes in any pieces; value() is the checksum of all of them so far.
class Crc32c {
 public:
  void update(const void* data, size_t size) {
    // ISA-L takes an int and a non-const pointer that it does not write through.
    auto* at = static_cast<unsigned char*>(const_cast<void*>(data));
    state_ = crc32_iscsi(at, static_cast<int>(size), state_);
  }
  void update(std::span<const std::byte> bytes) { update(bytes.data(), bytes.size()); }
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = ~0u;
};

}  // namespace mrpool::uiwarp
