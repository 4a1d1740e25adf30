// Names of the contract's enums, for messages and logs.
#include <array>
#include <utility>

#include "mrpool/mr.h"
#include "mrpool/qp.h"
#include "mrpool/work.h"

namespace mrpool {
namespace {

template <typename Enum, size_t N>
std::string_view name_in(const std::array<std::string_view, N>& names, Enum value) {
  const auto index = static_cast<size_t>(value);
  return index < N ? names[index] : "unknown";
}

}  // namespace

std::string_view to_string(Registration registration) {
  static constexpr std::array<std::string_view, 3> kNames = {"fast registration", "memory windows",
                                                             "pre-registered memory"};
  return name_in(kNames, registration);
}

std::string_view to_string(Opcode opcode) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "SEND",   "SEND_WITH_INV", "RDMA_WRITE", "RDMA_READ", "RDMA_READ_WITH_INV",
      "REG_MR", "LOCAL_INV",     "RECV"};
  return name_in(kNames, opcode);
}

std::string_view to_string(WcStatus status) {
  static constexpr std::array<std::string_view, 9> kNames = {"success",
                                                             "local length error",
                                                             "local protection error",
                                                             "flushed",
                                                             "bind error",
                                                             "remote invalid request",
                                                             "remote access error",
                                                             "remote operation error",
                                                             "transport error"};
  return name_in(kNames, status);
}

std::string_view to_string(PostStatus status) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "ok",      "queue full",    "too many sges", "bad sge",      "too long",
      "bad key", "access denied", "unsupported",   "not connected"};
  return name_in(kNames, status);
}

std::string_view to_string(DisconnectReason reason) {
  static constexpr std::array<std::string_view, 7> kNames = {"closed here",
                                                             "closed by the peer",
                                                             "connection reset",
                                                             "terminated by the peer",
                                                             "protocol error of the peer",
                                                             "rejected by the peer",
                                                             "timed out"};
  return name_in(kNames, reason);
}

}  // namespace mrpool
