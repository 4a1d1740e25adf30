// What session.cc (set-up and sending) and session_receive.cc share: sizes and tags of the PDUs,
// and the session's parts. Included by these two only.
//
// Thread safety: as Session.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "examples/iser/initiator/session.h"

namespace mrpool::iser {

inline constexpr size_t kHeaders = iscsi::kIserHeaderSize + iscsi::kBhsSize;
inline constexpr uint32_t kMessage = kHeaders + 8192;
inline constexpr uint32_t kMisc = 8;  // PDUs beside commands, each way
// Unsolicited data behind one command (RFC 7143 §4.2.5.1). Where more was agreed none is sent.
inline constexpr uint32_t kMaxDataOuts = 2;
inline constexpr size_t kMaxText = 16 << 20;  // of a whole answer to SendTargets
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
  explicit Receive(Session& owner)
      : Completion([](Completion& self, const WorkCompletion& wc) {
          auto& receive = static_cast<Receive&>(self);
          receive.session.received(receive, wc);
        }),
        session(owner) {}
  Session& session;
  size_t offset = 0;
};

struct Session::Control : Completion {
  explicit Control(Session& owner)
      : Completion([](Completion& self, const WorkCompletion&) {
          auto& control = static_cast<Control&>(self);
          control.session.free_controls_.push_back(&control);
        }),
        session(owner) {}
  Session& session;
  size_t offset = 0;
};

// A command under way. It is done when its answer is here, its SEND has completed and its key is
// dead.
struct Session::Slot {
  struct Sent : Completion {
    explicit Sent(Slot& owner)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            Slot& slot = static_cast<Sent&>(self).slot;
            if (wc.status != WcStatus::kSuccess) slot.command->lost = true;
            slot.session.half_done(slot);
          }),
          slot(owner) {}
    Slot& slot;
  };
  struct Invalidated : Completion {
    explicit Invalidated(Slot& owner)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            Slot& slot = static_cast<Invalidated&>(self).slot;
            if (wc.status == WcStatus::kSuccess) slot.lease.invalidated();
            slot.session.half_done(slot);
          }),
          slot(owner) {}
    Slot& slot;
  };
  explicit Slot(Session& owner) : session(owner), sent(*this), local_invalidation(*this) {}
  Session& session;
  Sent sent;
  Invalidated local_invalidation;
  Command* command = nullptr;
  MrPool::Lease lease;
  uint32_t index = 0;
  uint32_t cmd_sn = 0;
  size_t offset = 0;  // of the headers of the command and its Data-Outs
  bool answered = false;
  uint32_t halves = 0;
};

struct Session::Timeout : Timer {
  explicit Timeout(Session& owner)
      : Timer([](Timer& self) {
          Session& session = static_cast<Timeout&>(self).session;
          session.fail(absl::DeadlineExceededError(
              absl::StrCat(session.options_.address.to_string(), ": no answer in time")));
        }),
        session(owner) {}
  Session& session;
};

// Waits for an MR on behalf of the first command that is not under way.
struct Session::LeaseWaiter final : MrPool::Waiter {
  explicit LeaseWaiter(Session& owner) : Waiter(owner.reactor_, &run), session(owner) {}
  static void run(MrPool::Waiter& self, MrPool::Lease lease) {
    auto& waiter = static_cast<LeaseWaiter&>(self);
    waiter.waiting = false;
    waiter.session.spare_lease_ = std::move(lease);
    waiter.session.pump();
    // Nobody wanted it: the connection has ended meanwhile.
    waiter.session.spare_lease_.reset();
  }
  // From now on it keeps no MR from others.
  void cancel() {
    if (waiting && session.pool_.cancel(*this)) waiting = false;
  }
  Session& session;
  bool waiting = false;
};

}  // namespace mrpool::iser
