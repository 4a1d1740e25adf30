// What waits for tasks to end: a task management function, a logout, a login in place of another
// session, a PREEMPT AND ABORT. The tasks may be those of sessions on other threads.
//
// A Drain is shared by all it waits for, tasks and messages on their way to other workers. When the
// last of them lets go, `done` runs on the thread of the worker who asked.
//
// Thread safety: the last owner may be on any thread; `done` runs and ends on the home worker's.
// Memory ordering: `done` sees all that the owners did before they let go (std::shared_ptr).
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

// Which tasks of a session to end: all, or those of a unit, or the one of a tag. A value: it
// travels between threads.
struct TaskFilter {
  std::shared_ptr<const Unit> unit{};  // or one that is before or after it in its place
  // With `unit`: and those that came for this LUN when another store was there. Who sends a
  // function for a LUN counts all its tasks there as ended (RFC 7143 §11.5.1).
  std::optional<uint16_t> lun{};
  std::optional<uint32_t> tag{};

  bool matches(const Task& task) const;
};

}  // namespace mrpool::iser_target
