// Authentication of a queue's host and controller: DH-HMAC-CHAP over Authentication Send and
// Receive, [base] 8.3.5.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/host/queue.h"
#include "examples/protocol/nvme/auth/host_side.h"
#include "examples/protocol/nvme/auth/messages.h"

namespace mrpool::nvme::host {
namespace {

// The room for a message. Linux and SPDK offer the same.
constexpr size_t kRoom = 4096;
static_assert(kRoom >= auth::kMaxMessageBytes);

// Numbers the transactions of this process.
uint16_t next_transaction() {
  static std::atomic<uint16_t> last{0};
  return uint16_t(last.fetch_add(1, std::memory_order_relaxed) + 1);
}

Sqe auth_command(FabricsType type, size_t bytes) {
  AuthCommand command;
  command.type = type;
  command.security_protocol = auth::kSecurityProtocol;
  command.specific0 = command.specific1 = auth::kSecuritySpecific;
  command.length = uint32_t(bytes);
  return read_struct<Sqe>(bytes_of(command));
}

}  // namespace

Async<absl::Status> Queue::send_auth(load::Buffer& buffer, std::span<const std::byte> message) {
  std::copy(message.begin(), message.end(), buffer.bytes().begin());
  Execution execution = execute(auth_command(FabricsType::kAuthSend, message.size()),
                                buffer.sge(0, uint32_t(message.size())));
  const Outcome outcome = co_await execution;
  if (ok(outcome.status)) co_return absl::OkStatus();
  const std::string text =
      absl::StrCat("Authentication Send: ", describe(outcome.status, true),
                   code(outcome.status) == Status::kInvalidOpcode
                       ? "; the target has no key for this host and does not authenticate itself"
                       : "");
  co_return ended_here(outcome.status) ? absl::UnavailableError(text)
                                       : absl::UnauthenticatedError(text);
}

Async<absl::Status> Queue::receive_auth(load::Buffer& buffer) {
  std::ranges::fill(buffer.bytes(), std::byte{0});
  Execution execution =
      execute(auth_command(FabricsType::kAuthReceive, kRoom), buffer.sge(0, uint32_t(kRoom)));
  const Outcome outcome = co_await execution;
  if (ok(outcome.status)) co_return absl::OkStatus();
  const std::string text = absl::StrCat("Authentication Receive: ", describe(outcome.status, true));
  if (!ended_here(outcome.status)) co_return absl::UnauthenticatedError(text);
  // Linux's target ends the connection at once; its message may be lost.
  co_return absl::UnavailableError(
      absl::StrCat(text,
                   "; if the target refuses this host without a word, --dhchap-secret must be "
                   "the key that it has for it"));
}

Async<absl::Status> Queue::exchange(auth::HostSide& side, load::Buffer& buffer) {
  absl::Status status = co_await send_auth(buffer, side.first());
  while (status.ok()) {
    status = co_await receive_auth(buffer);
    if (!status.ok()) break;
    switch (side.take(buffer.bytes().first(kRoom))) {
      case auth::HostSide::Next::kSend:
        status = co_await send_auth(buffer, side.message());
        break;
      case auth::HostSide::Next::kSendLast:
        co_return co_await send_auth(buffer, side.message());
      case auth::HostSide::Next::kDone:
        co_return absl::OkStatus();
      case auth::HostSide::Next::kSendFailure:
        (void)co_await send_auth(buffer, side.message());
        co_return side.status();
      case auth::HostSide::Next::kFailed:
        co_return side.status();
    }
  }
  co_return status;
}

Async<absl::Status> Queue::authenticate() {
  auto buffer = load::Buffer::create(*options_.pd, kRoom);
  if (!buffer.ok()) co_return buffer.status();
  auth::HostSide side(options_.secrets, options_.host.nqn, options_.subnqn, next_transaction());
  absl::Status status = co_await exchange(side, *buffer);
  if (status.ok()) {
    authenticated_ = true;
    ++counters_.authentications;
    co_return status;
  }
  co_return absl::Status(status.code(), absl::StrCat("DH-HMAC-CHAP: ", status.message()));
}

void Queue::begin_again() {
  if (state_ == State::kReady) spawn(authenticate_again());
}

// Commands continue meanwhile. A failure ends the connection.
Async<> Queue::authenticate_again() {
  const absl::Status status = co_await authenticate();
  // The connection has ended; the queue may be destroyed.
  if (absl::IsUnavailable(status)) co_return;
  if (!status.ok()) co_return abort(std::string(status.message()));
  if (state_ == State::kReady) again_timer_.arm(*options_.reactor, options_.reauthenticate);
}

}  // namespace mrpool::nvme::host
