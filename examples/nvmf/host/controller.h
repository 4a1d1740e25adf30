// An NVMe-oF controller as its host sees it: the admin queue and what is asked over it.
//
// connect() opens the admin queue, enables the controller and identifies it. Meanwhile and after,
// keep alives are sent at half the time-out, and an Async Event Request waits for the controller's
// events. The log page of each event is read, which arms the event again, and the owner is called.
// Ten
// events a second are taken at most.
//
// Thread safety: everything on the thread of the admin queue's reactor.
// Ownership: the caller owns it; coroutines it returned must end before it does (closing the
// connection ends them).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/nvmf/host/limits.h"
#include "examples/nvmf/host/namespace.h"
#include "examples/nvmf/host/queue.h"

namespace mrpool::nvme::host {

struct ControllerOptions {
  QueueOptions admin;  // queue_id 0; depth is the admin queue's
  // Zero switches keep alives off (discovery controllers allow that).
  Nanoseconds keep_alive = kDefaultKeepAlive;
  bool async_events = true;
  bool access_events = false;  // of Asymmetric Namespace Access too
};

struct AsyncEvent {
  uint8_t type = 0;  // [base] 5.2
  uint8_t info = 0;
  uint8_t log_page = 0;
};
std::string to_string(const AsyncEvent& event);

class Controller final : private Queue::Owner {
 public:
  class Owner {
   public:
    virtual void on_controller_lost(Controller& controller, const std::string& why) = 0;
    virtual void on_async_event(Controller& controller, const AsyncEvent& event) = 0;

   protected:
    ~Owner() = default;
  };

  static absl::StatusOr<std::unique_ptr<Controller>> create(const ControllerOptions& options,
                                                            Owner& owner);
  ~Controller();

  Async<absl::Status> connect();
  // Shuts the controller down (CC.SHN) where it still answers, and closes the connection.
  Async<> disconnect();
  // Ends every command from inside, permanently (Queue::end()).
  void end();

  Queue& admin() { return *admin_; }
  uint16_t id() const { return admin_->controller_id(); }
  const nvme_id_ctrl& identity() const { return identity_; }
  // Command Retry Delays 1 to 3.
  RetryDelays retry_delays() const;
  // Entries a queue may have at most (CAP.MQES).
  uint32_t max_queue_entries() const { return uint32_t(capabilities_ & 0xffff) + 1; }
  // Bytes of one command's data at most (MDTS).
  uint64_t max_transfer() const;
  // Room for data in the capsules of I/O queues.
  uint32_t in_capsule_bytes() const;

  // Asks for I/O queues; how many were granted, at most `wanted`.
  Async<absl::StatusOr<uint16_t>> set_queue_count(uint16_t wanted);
  // ResourceExhausted where there are more than kMaxNamespaces.
  Async<absl::StatusOr<std::vector<uint32_t>>> active_namespaces();
  Async<absl::StatusOr<nvme_id_ns>> identify_namespace(uint32_t nsid);
  // As namespace_identifiers(); `info` is of the namespace.
  Async<absl::StatusOr<std::string>> identifiers(uint32_t nsid, const nvme_id_ns& info);
  // NotFound names the namespaces that there are. A target may show that a namespace is gone before
  // it shows what has taken its place: kFirst looks once more, so that a host without commands
  // under way finds what is there.
  enum class Look : uint8_t { kFirst, kAgain };
  Async<absl::StatusOr<NamespaceInfo>> namespace_info(uint32_t nsid, Look look = Look::kFirst);
  // Whether the namespace of `was`'s number still has its identifiers, as far as the controller
  // reports them in descriptors. Aborted: it has others, or is gone; Unavailable: no connection.
  Async<absl::Status> check_identifiers(const NamespaceInfo& was);

  // Identify, or a piece of a log page, into `out` (a multiple of 4 bytes).
  Async<absl::Status> identify(uint8_t cns, uint32_t nsid, std::span<std::byte> out);
  Async<absl::Status> log_page(uint8_t page, uint64_t offset, std::span<std::byte> out,
                               uint32_t nsid = 0);

 private:
  struct KeepAlive;

  Controller(const ControllerOptions& options, Owner& owner);
  void on_lost(Queue& queue, const std::string& why) override;
  Async<absl::Status> enable();
  Async<absl::StatusOr<uint64_t>> get_property(Property property);
  Async<absl::Status> set_property(Property property, uint32_t value);
  Async<absl::Status> fetch(Sqe command, std::span<std::byte> out, const char* what);
  Async<absl::Status> accept_retry_delays();
  Async<> watch_events();
  void stop_watching();

  const ControllerOptions options_;
  Owner& owner_;
  std::unique_ptr<Queue> admin_;
  std::unique_ptr<KeepAlive> keep_alive_;
  // Events are taken one at a time and not faster than one can read them: a controller may have
  // news without end.
  Event may_ask_;
  Bound<Timer, &Event::set> event_pause_{may_ask_};
  bool watching_ = false;
  nvme_id_ctrl identity_{};
  uint64_t capabilities_ = 0;
};

}  // namespace mrpool::nvme::host
