// Big-endian fields of SCSI, iSCSI and iSER headers, at any alignment.
//
// Thread safety: values.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace mrpool::be {

namespace internal {
template <typename T>
T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  return value;
}
template <typename T>
void store(void* to, T value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(to, &value, sizeof(value));
}
}  // namespace internal

inline uint8_t load8(const void* from) { return internal::load<uint8_t>(from); }
inline uint16_t load16(const void* from) { return internal::load<uint16_t>(from); }
inline uint32_t load32(const void* from) { return internal::load<uint32_t>(from); }
inline uint64_t load64(const void* from) { return internal::load<uint64_t>(from); }
inline uint32_t load24(const void* from) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  return uint32_t{bytes[0]} << 16 | uint32_t{bytes[1]} << 8 | bytes[2];
}

inline void store8(void* to, uint8_t value) { internal::store(to, value); }
inline void store16(void* to, uint16_t value) { internal::store(to, value); }
inline void store32(void* to, uint32_t value) { internal::store(to, value); }
inline void store64(void* to, uint64_t value) { internal::store(to, value); }
inline void store24(void* to, uint32_t value) {
  auto* bytes = static_cast<uint8_t*>(to);
  bytes[0] = uint8_t(value >> 16);
  bytes[1] = uint8_t(value >> 8);
  bytes[2] = uint8_t(value);
}

}  // namespace mrpool::be
