// Shared by session.cc (set-up and sending) and session_receive.cc only: sizes and tags of the
// PDUs, and the session's parts.
//
// Thread safety: as Session.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "examples/iser/initiator/limits.h"
#include "examples/iser/initiator/session.h"

namespace mrpool::iser {

inline constexpr size_t kHeaders = iscsi::kIserHeaderSize + iscsi::kBhsSize;
inline constexpr uint32_t kMessage = kHeaders + 8192;
inline constexpr uint32_t kMisc = 8;  // PDUs other than commands, in each direction
// PDUs of unsolicited data after one command (RFC 7143 §4.2.5.1). If the negotiated burst needs
// more, none is sent.
inline constexpr uint32_t kMaxDataOuts = 2;
inline constexpr Nanoseconds kLongestTick = std::chrono::seconds(1);
inline constexpr uint32_t kTextTag = 0xfffffff0;
inline constexpr uint32_t kLogoutTag = 0xfffffff1;
inline constexpr uint32_t kPingTag = 0xfffffff2;
inline constexpr uint32_t kManagementTag = 0xfffffe00;

inline std::span<const std::byte, iscsi::kBhsSize> bhs_of(std::span<const std::byte> message) {
  return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
}

inline std::string_view data_of(std::span<const std::byte> message) {
  const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
  const size_t offset = kHeaders + header.ahs_bytes();
  if (message.size() < offset) return {};
  const auto data =
      message.subspan(offset, std::min<size_t>(header.data_length, message.size() - offset));
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

struct Session::Receive : Completion {
  explicit Receive(Session& owner) : Completion(to_method<&Receive::done>), session(owner) {}
  void done(const WorkCompletion& wc) { session.received(*this, wc); }
  Session& session;
  size_t offset = 0;
};

struct Session::Control : Completion {
  explicit Control(Session& owner) : Completion(to_method<&Control::done>), session(owner) {}
  void done() { session.free_controls_.push_back(this); }
  Session& session;
  size_t offset = 0;
};

// An active command. It is done when its answer has arrived, its SEND has completed and its key is
// invalid.
struct Session::Slot {
  explicit Slot(Session& owner) : session(owner), loan(*this, owner.reactor_) {}
  void on_sent(const WorkCompletion& wc) {
    if (wc.status != WcStatus::kSuccess) command->lost = true;
    session.half_done(*this);
  }
  void key_done(LoanStatus status) { session.key_done(*this, status); }

  Session& session;
  Bound<Completion, &Slot::on_sent> sent{*this};
  Bound<Loan, &Slot::key_done> loan;
  Command* command = nullptr;
  Sge lent;  // the part of its data that RDMA transfers
  uint32_t index = 0;
  uint32_t cmd_sn = 0;
  size_t offset = 0;  // of the headers of the command and its Data-Outs
  bool answered = false;
  uint32_t halves = 0;
};

}  // namespace mrpool::iser
