// Changes of what is served, one after another, from whoever asks: clients of the control socket,
// SIGHUP.
//
// A change is a list of steps. Those that touch what is served run on the main loop. Those that may
// wait for a file system, such as opening a store, run on a thread of their own, so that signals,
// other clients and everything else of the main loop go on meanwhile. The first step that fails
// ends the change.
//
// Thread safety: add() and the answers: the main loop's thread. Ownership: the io_context outlives
// it. Its end waits for the step that is under way; no further step and no answer follows.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::engine {

struct Step {
  enum class Where : uint8_t {
    kLoop,   // the main loop's thread
    kAside,  // a thread that may wait
  };
  Where where = Where::kLoop;
  std::function<absl::Status()> run;
};

class Changes {
 public:
  using Done = std::function<void(const absl::Status&)>;

  // `after` runs on the loop when a change has ended, before its `done`.
  explicit Changes(boost::asio::io_context& loop, std::function<void()> after = {});
  ~Changes();
  Changes(const Changes&) = delete;
  Changes& operator=(const Changes&) = delete;

  // Runs the steps after all changes before it, then `done` on the loop.
  void add(std::vector<Step> steps, Done done);
  // A change is under way.
  bool busy() const;
  // As the end does: waits for the step that is under way, and forgets what is left.
  void stop();

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace mrpool::engine
