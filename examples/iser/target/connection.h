// One iSCSI connection, which is one session: login, then full feature phase. It does no I/O
// itself: the Link delivers received messages and sends all output.
//
// Error recovery level 0: a peer that violates the protocol receives a Reject where required and
// loses its connection; its tasks are aborted.
//
// Thread safety: the worker's thread; other sessions send it messages. Ownership: the link owns it
// and keeps it until idle().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/iser/target/link.h"
#include "examples/iser/target/site.h"
#include "examples/iser/target/task.h"
#include "examples/protocol/iscsi/login.h"

namespace mrpool::iser_target {

class Connection final : public iscsi::LoginHost {
 public:
  Connection(Site& site, SiteWorker& worker, Link& link, const iscsi::Limits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Processes a message of the peer. True: keeps its receive and releases it later through the
  // Link.
  [[nodiscard]] bool received(std::span<std::byte> message, void* receive);
  void chunks_ready(Task& task);
  void fetched(Task& task, bool success);
  void sent(Task& task);
  // Called periodically: checks login time-outs, silent peers, units that are no longer served, and
  // aborted tasks that storage still works on.
  void tick();
  // The same after it was closed.
  void linger();
  // The link has ended; each of its tasks was completed, or storage will complete it.
  void closed();
  bool idle() const { return active_.empty(); }
  size_t active() const { return active_.size(); }

  // Aborts the tasks that match `which`. The initiator that requested the abort, or that
  // disconnected, gets no answers; another initiator gets TASK ABORTED (SAM-5 §5.3.1, TAS). `drain`
  // is held until each has ended.
  enum class Answer : uint8_t { kNone, kTaskAborted };
  void abort_tasks(const TaskFilter& which, const std::shared_ptr<Drain>& drain,
                   Answer answer = Answer::kNone);
  const std::string& port() const { return port_; }
  const std::string& initiator() const { return login_.identity().initiator; }
  const std::string& target_name() const { return login_.identity().target; }
  // True if it was admitted to a target, even if it has ended since.
  bool logged_in() const { return target_ != nullptr; }
  bool full_feature() const { return phase_ == Phase::kFullFeature; }
  void drop(std::string_view why);

  // LoginHost.
  Found find_target(std::string_view target, std::string_view initiator) override;
  bool may_prove() override;
  void proof_failed() override;
  Admitted admit(const iscsi::Identity& identity) override;

 private:
  friend struct ConnectionCallbacks;
  enum class Phase : uint8_t { kLogin, kFullFeature, kLogout, kClosed };

  // connection.cc: login, and the PDUs other than SCSI commands.
  bool login(std::span<const std::byte> message);
  void answer_login(iscsi::Login::Answer& answer);
  void enter_full_feature();
  void replace_older_sessions();
  // Updates units_ to the table of units that the target serves now.
  void look_at_units();
  static void tell_changes(const SeenUnit& former, UnitHandle& now);
  void remember(bool for_good);
  void let_go_of_units();
  bool control(std::span<std::byte> message, void* receive);
  void hello(std::span<const std::byte> message);
  void nop_out(const iscsi::NopOut& pdu, std::span<const std::byte> data);
  void text(const iscsi::TextRequest& pdu, std::span<const std::byte> data);
  void text_part(const iscsi::TextRequest& pdu);
  uint32_t new_text_tag();
  void logout(const iscsi::LogoutRequest& pdu);
  void ping();
  void answer_management(uint32_t task_tag, uint8_t response);
  void reject(iscsi::RejectReason reason, std::span<const std::byte> message);
  void violation(iscsi::RejectReason reason, std::span<const std::byte> message,
                 std::string_view why);

  // Window and numbering (RFC 7143 §4.2.2).
  enum class Order : uint8_t { kTake, kIgnore, kBroken };
  Order order(uint32_t cmd_sn, bool immediate);
  iscsi::Window window(bool advance = true);

  template <typename Pdu>
  void send_control(Pdu& pdu, std::span<const std::byte> data = {}, bool advance = true);

  // commands.cc: a command from its PDU to its response.
  bool command(std::span<std::byte> message, void* receive);
  void take_unit(Task& task);
  void leave_unit(Task& task);
  void settle(Task& task);
  bool data_out(std::span<std::byte> message, void* receive);
  void data_complete(Task& task);
  void plan_command(Task& task);
  // throttling.cc
  bool limited(const Task& task);
  bool held_back(Task& task);
  void released(Task& task);
  void begin_wait(Task& task);
  void stop_waiting(Task& task);
  void count_wait(Task& task);
  void stage(Task& task);
  void staged(Task& task);
  void execute(Task& task);
  void reserve(Task& task, std::span<const uint8_t> parameters);
  void reserved(Task& task, const scsi::LogicalUnit::ReserveAnswer& answer);
  void executed(Task& task);
  void data_in_ready(Task& task);
  void data_in_staged(Task& task);
  void respond(Task& task);
  void finish(Task& task);
  // Releases its receives.
  void release_pieces(Task& task);
  void end(Task& task);
  void give_up_late_tasks();
  void give_up(Task& task);
  void settle_data_out(Task& task);
  std::optional<Rkey> key_to_invalidate(const Task& task) const;
  // The unit's storage for this thread; null: it cannot be opened, as the log reports.
  Store* store_of(UnitHandle& handle);
  // copy.cc: EXTENDED COPY.
  void begin_copy(Task& task, std::span<const uint8_t> list);
  void copy_on(Task& task);
  std::optional<scsi::Sense> open_segment(Task& task);
  bool copy_held_back(Task& task);
  void copy_side(Task& task, scsi::CopySide which);
  void copied_side(Task& task);
  void fail_copy(Task& task, const scsi::Sense& sense);
  void end_copy(Task& task);
  void let_go_of_sides(TaskCopy& copy);
  UnitHandle* find_unit(uint64_t lun);
  Task* find(uint32_t task_tag);

  // management.cc: task management.
  void manage(const iscsi::TaskRequest& pdu);
  // The same in every session of the target, including closed sessions with tasks in storage. With
  // `port`, only of that initiator port.
  void abort_everywhere(const TaskFilter& which, const std::shared_ptr<Drain>& drain,
                        const std::string& port = {});
  void reset_target(bool cold, const std::shared_ptr<Drain>& answered);
  bool give_up_number(const iscsi::TaskRequest& pdu);

  Site& site_;
  SiteWorker& worker_;
  Link& link_;
  iscsi::Limits limits_;
  iscsi::Login login_;
  Phase phase_ = Phase::kLogin;
  Nanoseconds started_;
  Nanoseconds heard_;  // last message of the peer
  bool pinged_ = false;

  // The last login response, held while tasks of the replaced session are active.
  std::optional<iscsi::Login::Answer> held_login_;
  bool replacing_ = false;

  std::shared_ptr<Target> target_;  // since admission; null in a discovery session
  // Of the initiator at this target, since its first command with data; its throttle, since it met
  // a limit.
  std::shared_ptr<engine::Limiter> limiter_;
  std::shared_ptr<engine::Throttle> limit_;
  std::string port_;
  uint16_t tsih_ = 0;
  uint64_t admission_ = 0;  // the target's number for it
  iscsi::Parameters parameters_;
  uint32_t stat_sn_ = 0;
  uint32_t exp_cmd_sn_ = 0;
  uint32_t outstanding_ = 0;                // commands in the window
  std::vector<uint32_t> given_up_;          // CmdSNs that will not arrive; later ones need not wait
  std::shared_ptr<const UnitTable> table_;  // that units_ match
  std::map<uint16_t, std::unique_ptr<UnitHandle>> units_;
  std::vector<std::unique_ptr<UnitHandle>> leaving_;  // no longer served, with active tasks
  std::vector<Task*> active_;
  bool aborts_wait_ = false;  // some wait for storage
  std::string text_;          // the unsent part of a text answer
  std::string asked_;         // a text request in several parts
  // The target transfer tag of the next part of either.
  uint32_t text_tag_ = iscsi::kReservedTag;
  uint32_t last_text_tag_ = 0;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // for drains that outlive this object
};

// The callbacks of a task.
Task::Callbacks task_callbacks();

}  // namespace mrpool::iser_target
