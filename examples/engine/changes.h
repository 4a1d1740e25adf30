// Runs changes of the served configuration one at a time, in the order of the requests. Clients of
// the control socket and SIGHUP request them.
//
// A change is a list of steps. Steps that modify the served objects run on the main loop. Steps
// that may block in a file system, such as opening a store, run on a separate thread, so that the
// main loop continues to handle signals and other clients. The first step that fails ends the
// change.
//
// Thread safety: add() and the answers: the main loop's thread. Ownership: the io_context outlives
// it. The destructor waits for the current step; no further step and no answer follows.
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
    kAside,  // a separate thread, which may block
  };
  Where where = Where::kLoop;
  std::function<absl::Status()> run;
};

class Changes {
 public:
  using Done = std::function<void(const absl::Status&)>;

  // `after` runs on the loop when a change has ended, before the change's `done`.
  explicit Changes(boost::asio::io_context& loop, std::function<void()> after = {});
  ~Changes();
  Changes(const Changes&) = delete;
  Changes& operator=(const Changes&) = delete;

  // Runs the steps after all changes before it, then `done` on the loop.
  void add(std::vector<Step> steps, Done done);
  // True while a change runs.
  bool busy() const;
  // Like the destructor: waits for the current step and discards the remaining ones.
  void stop();

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace mrpool::engine
