// An iSER initiator session: login, SCSI commands with a key for each I/O from an MR pool, text,
// logout.
//
// Every command with data registers exactly the bytes that RDMA transfers (mrpool/lender.h), with
// exactly the required access: remote read for a write, remote write for a read. The target's SEND
// usually invalidates the key. If it did not, the session invalidates it before the command is
// done. So the target cannot access the buffer afterwards.
//
// A command that finds the pool empty waits for an MR, and later commands wait in order, even if
// others use the pool too.
//
// Thread safety: the reactor's thread. Ownership: device, pd and pool outlive it. The caller owns
// commands and keeps them until they are done. Completions come from the loop, never from inside a
// call. The session may be destroyed outside of its callbacks, and inside those that follow the end
// of its connection; active commands are then discarded without a callback.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/iser/initiator/limits.h"
#include "examples/load/lending_slots.h"
#include "examples/protocol/iscsi/initiator_login.h"
#include "examples/protocol/iscsi/iser_header.h"
#include "examples/protocol/iscsi/pdu.h"
#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/sense.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "mrpool/lender.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"

namespace mrpool::iser {

enum class DataDirection : uint8_t { kNone, kIn, kOut };

struct Command {
  using Done = void (*)(Command& self);
  explicit Command(Done done_fn) : done(done_fn) {}
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // The request.
  Done done;
  uint64_t lun = 0;  // the eight bytes of a LUN structure
  scsi::Cdb cdb{};
  DataDirection direction = DataDirection::kNone;
  Sge data{};  // registered with the session's Pd

  // The answer. `lost`: the connection ended first; the other fields are invalid.
  bool lost = false;
  scsi::Status status = scsi::Status::kGood;
  std::optional<scsi::Sense> sense{};
  uint32_t transferred = 0;  // bytes, after the residual
  uint32_t overflow = 0;     // bytes that the target had or expected beyond `data`

  bool good() const { return !lost && status == scsi::Status::kGood; }

 private:
  friend class Session;
  Nanoseconds since_{0};  // when it was submitted, and then when it was sent
};
// "good", "check condition: 5/24/00", "the connection was lost"; the session's error() has the
// reason.
std::string describe(const Command& command);

// A task management function (RFC 7143 §11.5). Commands that it aborted without an answer are done
// before it is, with kTaskAborted.
struct Management {
  using Done = void (*)(Management& self);
  explicit Management(Done done_fn) : done(done_fn) {}
  Management(const Management&) = delete;
  Management& operator=(const Management&) = delete;

  // The request.
  Done done;
  iscsi::TaskFunction function = iscsi::TaskFunction::kLogicalUnitReset;
  uint64_t lun = 0;
  const Command* command = nullptr;  // of kAbortTask

  // The answer. `lost`: the connection ended first; the other fields are invalid.
  bool lost = false;
  uint8_t response = iscsi::TaskResponse::kComplete;

 private:
  friend class Session;
  uint32_t cmd_sn_ = 0;  // it aborts the commands before this number
  Nanoseconds since_{0};
};

struct SessionOptions {
  Address address{};
  iscsi::InitiatorLoginOptions login{};
  uint32_t depth = kDefaultDepth;  // concurrent commands
  bool remote_invalidation = true;
  // For a write that is larger than the unsolicited limit, sends the first part unsolicited, as
  // Linux does. Otherwise the target fetches such writes completely.
  bool send_first_burst = false;
  Nanoseconds timeout = kDefaultConnectTimeout;  // of connect and login together, of logout
  // The time-out of a command, a task management function, a ping and a text negotiation. If it
  // expires, the session ends.
  Nanoseconds command_timeout = kDefaultCommandTimeout;
};

struct SessionCounters {
  uint64_t keys = 0;
  uint64_t remote_invalidations = 0;
  uint64_t local_invalidations = 0;
  uint64_t immediate = 0;  // commands with immediate data
  uint64_t data_outs = 0;  // PDUs of unsolicited data after commands
};

class Session final : public QpEvents {
 public:
  Session(Reactor& reactor, Device& device, Pd& pd, MrPool& pool, SessionOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Connects and logs in.
  void start(std::function<void(absl::Status)> ready);
  // Before connected() the command waits; after the end it is lost.
  void submit(Command& command);
  // Sends SendTargets and similar; `answer` receives the complete text.
  void text(const std::string& request, std::function<void(absl::StatusOr<std::string>)> answer);
  // Requires connected(). False: too many are active, or the target does not have the command to
  // abort (it has not been sent, or its answer has arrived).
  [[nodiscard]] bool manage(Management& management);
  // Sends a NOP with data, one at a time; `answer` receives the returned data.
  void ping(const std::string& data, std::function<void(absl::StatusOr<std::string>)> answer);
  // Logs out and disconnects; `gone` runs when no operation is active any more.
  void close(std::function<void()> gone);
  // Ends the connection immediately; commands are lost.
  void abort(std::string_view why) { fail(absl::CancelledError(std::string(why))); }

  const iscsi::Parameters& parameters() const { return login_.parameters(); }
  const SessionCounters& counters() const { return counters_; }
  bool connected() const { return state_ == State::kReady; }
  // True if the connection has ended and all waiting callbacks have run. error() has the reason as
  // text, ended_by() the reason of the queue pair.
  bool ended() const { return told_; }
  const absl::Status& error() const { return error_; }
  DisconnectReason ended_by() const { return ended_by_; }
  // The number of commands that the target accepts before it answers one.
  uint32_t window() const { return max_cmd_sn_ + 1 - exp_cmd_sn_; }

  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

 private:
  enum class State : uint8_t { kIdle, kConnecting, kLogin, kReady, kClosing, kClosed };
  struct Receive;
  struct Slot;
  struct Control;
  static constexpr size_t kManagements = 3;

  absl::Status open();
  void post(Receive& receive);
  void received(Receive& receive, const WorkCompletion& wc);
  void login_answer(std::span<const std::byte> message);
  void command_answer(std::span<const std::byte> message, const WorkCompletion& wc);
  void text_answer(std::span<const std::byte> message);
  void nop_in(std::span<const std::byte> message);
  void management_answer(std::span<const std::byte> message);
  void note_window(const iscsi::Window& window);
  template <typename Pdu>
  void send_control(const Pdu& pdu, std::string_view text = {});
  void send_login(const iscsi::InitiatorLogin::Request& request);
  void pump();
  bool begin(Command& command);
  void encode(Slot& slot, uint32_t length, uint32_t immediate, bool final);
  void send(Slot& slot, uint32_t immediate, uint32_t unasked);
  bool end_key(Slot& slot, const WorkCompletion& answer);
  void key_done(Slot& slot, LoanStatus status);
  void key_refused(LoanStatus status);
  void drop_place();
  void timed_out();
  void tick();
  void tell_later();
  void tell_one();
  void half_done(Slot& slot);
  void finish(Slot& slot);
  void fail(absl::Status status);
  void told_ready(absl::Status status);

  Reactor& reactor_;
  Device& device_;
  Pd& pd_;
  MrPool& pool_;
  const SessionOptions options_;
  iscsi::InitiatorLogin login_;
  State state_ = State::kIdle;
  absl::Status error_;
  DisconnectReason ended_by_ = DisconnectReason::kLocal;
  bool remote_invalidation_ = false;
  SessionCounters counters_;
  uint32_t cmd_sn_ = 1;
  uint32_t max_cmd_sn_ = 0;
  uint32_t exp_cmd_sn_ = 1;
  uint32_t exp_stat_sn_ = 0;
  std::function<void(absl::Status)> ready_;
  std::function<void(absl::StatusOr<std::string>)> text_answer_;
  std::string text_;
  std::function<void(absl::StatusOr<std::string>)> ping_answer_;
  std::array<Management*, kManagements> managements_{};
  std::function<void()> gone_;
  std::deque<Command*> waiting_;
  // Commands of a session that has ended. Their callbacks run one at a time from the loop, because
  // any of them may destroy the session.
  std::deque<Command*> lost_;
  Bound<Task, &Session::tell_one> teller_{*this};
  bool telling_ = false;
  bool told_ = false;
  Nanoseconds last_answer_{0};
  Nanoseconds text_since_{0};
  Nanoseconds ping_since_{0};

  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte[], Free> memory_;
  std::unique_ptr<Mr> mr_;
  std::vector<std::unique_ptr<Receive>> receives_;
  std::unique_ptr<Lender> lender_;
  std::vector<std::unique_ptr<Slot>> slots_;
  load::LendingSlots<Slot> free_;
  std::vector<std::unique_ptr<Control>> controls_;
  std::vector<Control*> free_controls_;
  Bound<Timer, &Session::timed_out> timeout_{*this};
  Bound<Timer, &Session::tick> ticker_{*this};
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<Qp> qp_;
};

}  // namespace mrpool::iser
