// SIGINT and SIGTERM of an initiator: it ends within a second, with status 130, whatever it waits
// for.
//
// While an Interrupt exists, its loop is called for the first signal, and the work that the loop
// runs has a second to end in good order. Before and afterwards, and where the loop does not run, a
// signal ends the program at once; so does a second signal.
//
// Thread safety: the thread of the reactor. Ownership: the reactor is the caller's. Of several
// objects the last one made is called; they end in reverse order.
#pragma once

#include <chrono>
#include <functional>

#include "absl/status/status.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::load {

inline constexpr std::chrono::milliseconds kInterruptedReadBack{500};  // of what was written
inline constexpr std::chrono::milliseconds kInterruptedDrain{300};     // for what is under way
inline constexpr std::chrono::milliseconds kInterruptedEnd{150};       // for closing connections

class Interrupt {
 public:
  // The first call of main, with the name that messages begin with.
  static void take_signals(const char* program);
  // There was a signal.
  static bool heard();
  // What a command that was interrupted ends with: Cancelled.
  static absl::Status status() { return absl::CancelledError("interrupted"); }
  // What failed after a signal was interrupted, unless another store is the cause (Aborted).
  static absl::Status outcome(const absl::Status& failure) {
    return heard() && !absl::IsAborted(failure) ? status() : failure;
  }

  // The steps of an end: finish what is under way and read back; finish what is under way; wait for
  // nothing. If it has still not ended then, the program ends.
  enum class Step : uint8_t { kFirst, kHurry, kGiveUp };
  Interrupt(Reactor& reactor, std::function<void(Step)> tell);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Runs the loop until `done`, which is set before the reactor is stopped.
  void run_until(const bool& done);

 private:
  void next_step();

  Reactor& reactor_;
  Reactor* const outer_;
  const std::function<void(Step)> tell_;
  int steps_ = 0;
  Bound<Timer, &Interrupt::next_step> timer_{*this};
};

}  // namespace mrpool::load
