// Names of the contract's enums, for messages and logs.
#include <array>
#include <utility>

#include "mrpool/device.h"
#include "mrpool/internal/report.h"
#include "mrpool/log.h"
#include "mrpool/mr.h"
#include "mrpool/qp.h"
#include "mrpool/work.h"

namespace mrpool {

Nanoseconds QpEvents::on_receive_wait(Qp& qp) { return qp.options().receive_wait; }

void ListenHandler::on_listen_error(const absl::Status& error) {
  internal::report(std::string_view(error.message().data(), error.message().size()));
}

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
  static constexpr std::array<std::string_view, 14> kNames = {
      "SEND",      "SEND_WITH_INV", "RDMA_WRITE",    "RDMA_READ",           "RDMA_READ_WITH_INV",
      "REG_MR",    "LOCAL_INV",     "SEND_WITH_IMM", "RDMA_WRITE_WITH_IMM", "COMPARE_SWAP",
      "FETCH_ADD", "RECV",          "RECV_WITH_IMM", "RECV_RDMA_WITH_IMM"};
  return name_in(kNames, opcode);
}

std::string_view to_string(WcStatus status) {
  static constexpr std::array<std::string_view, 11> kNames = {"success",
                                                              "local length error",
                                                              "local protection error",
                                                              "flushed",
                                                              "bind error",
                                                              "remote invalid request",
                                                              "remote access error",
                                                              "remote operation error",
                                                              "transport error",
                                                              "cancelled",
                                                              "integrity error"};
  return name_in(kNames, status);
}

std::string_view to_string(PostStatus status) {
  static constexpr std::array<std::string_view, 12> kNames = {"ok",
                                                              "queue full",
                                                              "too many sges",
                                                              "bad sge",
                                                              "too long",
                                                              "bad key",
                                                              "access denied",
                                                              "unsupported",
                                                              "not connected",
                                                              "bad atomic",
                                                              "unsupported by the peer",
                                                              "bad integrity"};
  return name_in(kNames, status);
}

std::string_view to_string(ConnectionState state) {
  static constexpr std::array<std::string_view, 5> kNames = {"connecting", "connected", "closing",
                                                             "closed", "detached"};
  return name_in(kNames, state);
}

std::string_view to_string(AtomicScope scope) {
  static constexpr std::array<std::string_view, 3> kNames = {"none", "device", "machine"};
  return name_in(kNames, scope);
}

std::string_view to_string(LogLevel level) {
  static constexpr std::array<std::string_view, 3> kNames = {"info", "error", "fatal"};
  return name_in(kNames, level);
}

std::string_view to_string(DisconnectReason reason) {
  static constexpr std::array<std::string_view, 11> kNames = {"closed here",
                                                              "closed by the peer",
                                                              "connection reset",
                                                              "terminated by the peer",
                                                              "protocol error of the peer",
                                                              "rejected by the peer",
                                                              "timed out",
                                                              "refused: nobody listens there",
                                                              "the host cannot be resolved",
                                                              "the host cannot be reached",
                                                              "failure on this side"};
  return name_in(kNames, reason);
}

}  // namespace mrpool
