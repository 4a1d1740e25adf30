// Waits for tasks to end. Users: a task management function, a logout, a login that replaces
// another session, a PREEMPT AND ABORT. The tasks may belong to sessions on other threads.
//
// A Drain is shared by everything it waits for: tasks, and messages in transit to other workers.
// When the last reference is released, `done` runs on the thread of the requesting worker.
//
// Thread safety: the last owner may be on any thread; `done` runs and is destroyed on the home
// worker's thread. Memory ordering: `done` sees everything that the owners did before they released
// their references (std::shared_ptr).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "examples/iser/target/site_worker.h"

namespace mrpool::iser_target {

struct Task;

class Drain {
 public:
  Drain(SiteWorker& home, std::function<void()> done) : home_(home), done_(std::move(done)) {}
  ~Drain() { home_.run(std::move(done_)); }
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;

 private:
  SiteWorker& home_;
  std::function<void()> done_;
};

// Selects the tasks of a session to abort: all, those of a unit, or the one with a tag. A value, so
// that it can be passed between threads.
struct TaskFilter {
  std::shared_ptr<const Unit> unit{};  // or a unit that it replaced, or that replaced it
  // With `unit`: also the tasks for this LUN from the time when it had another store. The initiator
  // of a function for a LUN considers all its tasks there as ended (RFC 7143 §11.5.1).
  std::optional<uint16_t> lun{};
  std::optional<uint32_t> tag{};
  // With `unit`: also copies from it and to it that were sent to another LUN. Their initiators get
  // TASK ABORTED in any case, because they wait for an answer there.
  bool copies = true;

  bool matches(const Task& task) const;
  bool concerns_copy(const Task& task) const;
};

}  // namespace mrpool::iser_target
