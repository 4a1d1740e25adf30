// The line on stderr while a load runs, rewritten every second.
//
// Thread safety: the reactor's thread. Ownership: `progress` is the caller's and must outlive it.
#pragma once

#include <span>
#include <string>

#include "examples/load/report.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::load {

class Live {
 public:
  explicit Live(Reactor& reactor) : reactor_(reactor) {}
  // `eta` as Options has it.
  void start(std::span<const Progress> progress, const std::string& eta);
  // Removes the line.
  void stop();

 private:
  void tick();

  Reactor& reactor_;
  std::span<const Progress> progress_;
  Bound<Timer, &Live::tick> timer_{*this};
  LiveLine line_;
  bool rewrites_ = false;
  bool shown_ = false;
};

}  // namespace mrpool::load
