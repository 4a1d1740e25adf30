// Helpers for building pages for a host: a struct as bytes, an answer with data.
//
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "examples/nvmf/target/controller.h"

namespace mrpool::nvmf_target {

inline AdminReply refuse(nvme::Status status) {
  AdminReply reply;
  reply.status = nvme::with_dnr(status);
  return reply;
}

// As refuse(); the host may try a path error again on another path, so without Do Not Retry.
inline AdminReply refuse_path(nvme::Status status) {
  AdminReply reply = refuse(status);
  if (nvme::is_path_error(status)) reply.status = status;
  return reply;
}

inline AdminReply answer(uint64_t result) {
  AdminReply reply;
  reply.result = result;
  return reply;
}

inline AdminReply with_data(std::vector<std::byte> data) {
  AdminReply reply;
  reply.data = std::move(data);
  return reply;
}

template <typename T>
std::vector<std::byte> to_bytes(const T& value) {
  const auto bytes = nvme::bytes_of(value);
  return {bytes.begin(), bytes.end()};
}

template <typename T>
AdminReply page_of(const T& value) {
  return with_data(to_bytes(value));
}

// A counter of 128 bits.
inline void put128(uint8_t (&field)[16], uint64_t value) {
  std::memset(field, 0, sizeof field);
  value = nvme::le(value);
  std::memcpy(field, &value, sizeof value);
}

}  // namespace mrpool::nvmf_target
