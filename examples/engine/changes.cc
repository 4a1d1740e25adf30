#include "examples/engine/changes.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::engine {

namespace asio = boost::asio;

struct Changes::State : std::enable_shared_from_this<State> {
  struct Change {
    std::vector<Step> steps;
    Done done;
    size_t next = 0;
  };

  State(asio::io_context& io, std::function<void()> after_each)
      : loop(io), after(std::move(after_each)) {}

  // Runs the next step of the first change.
  void run() {
    Change& change = queue.front();
    if (change.next == change.steps.size()) return end(absl::OkStatus());
    const Step& step = change.steps[change.next++];
    if (step.where == Step::Where::kLoop) return ran(step.run());
    if (absl::Status status = begin_thread(); !status.ok()) return end(status);
    // The guard keeps the loop running during the step.
    asio::post(*aside, [self = shared_from_this(), &step, work = asio::make_work_guard(loop)] {
      asio::post(self->loop, [self, status = step.run()] {
        if (!self->ended) self->ran(status);
      });
    });
  }
  // Starts the thread on demand, because most daemons never need it.
  absl::Status begin_thread() {
    try {
      if (!aside) aside.emplace(1);
      return absl::OkStatus();
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no thread can be started: ", error.code().message()));
    }
  }
  void ran(const absl::Status& status) {
    if (!status.ok()) return end(status);
    later();
  }
  void end(const absl::Status& status) {
    Change change = std::move(queue.front());
    queue.pop_front();
    // Files of a refused change are removed before its end is reported.
    change.steps.clear();
    if (!queue.empty()) later();
    if (after) after();
    change.done(status);
  }
  // Later, so that other handlers of the loop run in between and the stack does not grow.
  void later() {
    asio::post(loop, [self = shared_from_this()] {
      if (!self->ended) self->run();
    });
  }

  asio::io_context& loop;
  const std::function<void()> after;
  std::optional<asio::thread_pool> aside;
  std::deque<Change> queue;
  bool ended = false;
};

Changes::Changes(asio::io_context& loop, std::function<void()> after)
    : state_(std::make_shared<State>(loop, std::move(after))) {}

Changes::~Changes() { stop(); }

void Changes::stop() {
  state_->ended = true;
  if (state_->aside) state_->aside->join();
  state_->queue.clear();
}

void Changes::add(std::vector<Step> steps, Done done) {
  state_->queue.push_back({.steps = std::move(steps), .done = std::move(done)});
  if (state_->queue.size() == 1) state_->later();
}

bool Changes::busy() const { return !state_->queue.empty(); }

}  // namespace mrpool::engine
