// What a queue lets others do for one of its commands: reservations, and whatever has to wait for a
// disk in a way that no reactor may.
//
// Thread safety: Aside: any thread. Ownership: jobs are values; a Fence is shared.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/reservations.h"
#include "examples/storage/storage.h"

namespace mrpool::nvmf_target {

// A command under way: a stale one names nothing.
struct CommandRef {
  QueueRef queue;
  uint32_t slot = 0;
  uint32_t serial = 0;
};

// Shared by the commands that a Preempt and Abort ends and the messages on their way to their
// queues; `over` runs when the last of them is gone, on whatever thread that is.
class Fence {
 public:
  explicit Fence(std::function<void()> over) : over_(std::move(over)) {}
  ~Fence() { over_(); }
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

 private:
  const std::function<void()> over_;
};

struct ReservationJob {
  CommandRef from;
  std::shared_ptr<Controller> controller;
  uint32_t nsid = 0;
  std::shared_ptr<Reservations> reservations;
  ReservationRequest request;
};

// Answers with Queue::answered_aside(), always by a message.
class Aside {
 public:
  virtual void reserve(ReservationJob job) = 0;
  // Also notifies the hosts of the namespace.
  virtual void protect(const CommandRef& from, std::shared_ptr<Controller> controller,
                       uint32_t nsid, bool on) = 0;
  // Answers with Queue::marks_changed(); the command is one of the storage meanwhile.
  virtual void change_marks(const CommandRef& from, std::function<storage::Error()> change) = 0;
  virtual void run_aside(const CommandRef& from, std::function<nvme::Status()> job) = 0;

 protected:
  ~Aside() = default;
};

}  // namespace mrpool::nvmf_target
