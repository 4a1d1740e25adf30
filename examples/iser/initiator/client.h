// The common part of all subcommands of mrpool-iser: device, pool and sessions, and a loop that
// runs until an event.
//
// Thread safety: one thread. Ownership: owns all of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/command_line.h"
#include "examples/iser/initiator/limits.h"
#include "examples/iser/initiator/session.h"
#include "examples/iser/initiator/unit.h"
#include "examples/load/buffer.h"
#include "examples/load/interrupt.h"
#include "mrpool/reactor.h"

namespace mrpool::iser {

struct ClientOptions {
  std::string address;  // "uiwarp://127.0.0.1:3260"
  std::string target;   // empty: discovery
  std::string initiator = "iqn.2026-11.org.mrpool:initiator";
  std::string chap;         // user:secret
  std::string mutual_chap;  // user:secret
  std::string chap_file{};  // instead: where it is, for base::read_secret()
  std::string mutual_chap_file{};
  uint32_t lun = 0;
  uint32_t depth = kDefaultDepth;
  bool no_immediate_data = false;
  bool no_remote_invalidation = false;
  bool spin = false;
  Nanoseconds connect_timeout = kDefaultConnectTimeout;
  Nanoseconds timeout = kDefaultCommandTimeout;
};
// Declares the address and the options of sessions.
void add_options(base::CommandLine& command, ClientOptions& options);
// The same for commands that use a unit of one target.
void add_unit_options(base::CommandLine& command, ClientOptions& options);

class Client {
 public:
  // Opens the device; `sessions` is the most sessions that may be made.
  static absl::StatusOr<std::unique_ptr<Client>> create(const ClientOptions& options,
                                                        uint32_t sessions = 1);
  ~Client();

  Reactor& reactor() { return *reactor_; }
  Pd& pd() { return *pd_; }
  MrPool& pool() { return *pool_; }
  Session& session() { return *sessions_.front(); }  // the first, once logged in

  // Connects and logs in; sessions are numbered from 0, and each is a separate initiator port.
  absl::StatusOr<Session*> log_in();
  // Runs the loop until `what` calls its argument.
  void wait(const std::function<void(const std::function<void()>& done)>& what);
  // Sets the reaction to an interrupt (load/interrupt.h). Without it, and with kGiveUp, the
  // sessions end.
  void on_interrupt(std::function<void(load::Interrupt::Step)> call) {
    on_interrupt_ = std::move(call);
  }
  void log_out();

  // Executes one command on the first session, with the retries of attempts.h. `data` is copied
  // through the client's buffer. Aborted: the pinned unit was replaced by another.
  absl::Status run(const scsi::Cdb& cdb, DataDirection direction, std::span<std::byte> data,
                   uint32_t* transferred = nullptr);
  // READ(16) or WRITE(16) of `data`, a multiple of the unit's blocks. DataLoss if the target
  // transferred less or more.
  absl::Status transfer(bool write, const Capacity& capacity, uint64_t offset,
                        std::span<std::byte> data);
  // Reads the properties of the unit.
  absl::StatusOr<Unit> read_unit();
  // The same, and run() compares them from now on after each unit attention.
  absl::StatusOr<Unit> pin_unit();
  // Compares them now. Aborted: it is another unit.
  absl::Status check_pinned();
  // Selects the unit for run(); the default is the option's.
  void use_lun(uint32_t lun) { lun_ = lun; }
  // The LUN structure of that unit.
  uint64_t lun() const;
  // NotFound, with the remedy.
  absl::Status no_such_lun() const;

 private:
  explicit Client(const ClientOptions& options) : options_(options), lun_(options.lun) {}
  absl::Status open(uint32_t sessions);
  struct Moved {
    uint32_t bytes = 0;
    uint32_t overflow = 0;  // that the target had or expected beyond the data
  };
  absl::Status execute(const scsi::Cdb& cdb, DataDirection direction, std::span<std::byte> data,
                       Moved& moved);
  void pause(Nanoseconds delay);
  void tell(load::Interrupt::Step step);
  absl::Status explain(const absl::Status& refused) const;

  const ClientOptions options_;
  uint32_t lun_;
  Address address_;
  std::unique_ptr<Reactor> reactor_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::optional<load::Buffer> buffer_;  // kBuffer bytes of data, then the buffer of UnitReader
  std::optional<Unit> pinned_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::function<void(load::Interrupt::Step)> on_interrupt_;
  std::function<void()> end_pause_;  // while a command waits for its next attempt
  std::optional<load::Interrupt> interrupt_;
};

// Returns a client that is logged in to options.target. InvalidArgument if that is empty.
absl::StatusOr<std::unique_ptr<Client>> connect(const ClientOptions& options);
absl::Status check_target(const ClientOptions& options);
// InvalidArgument: --bs exceeds the transfer of one command.
absl::Status check_bs(uint32_t bytes);

// The commands of mrpool-iser; each declares its options and its function.
void add_ls(base::CommandLine& program);
void add_inq(base::CommandLine& program);
void add_read(base::CommandLine& program);
void add_write(base::CommandLine& program);
void add_write_uncorrectable(base::CommandLine& program);
void add_perf(base::CommandLine& program);
int fail(const absl::Status& status);

}  // namespace mrpool::iser
