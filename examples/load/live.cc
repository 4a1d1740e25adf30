#include "examples/load/live.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace mrpool::load {
namespace {

constexpr Nanoseconds kPeriod = std::chrono::seconds(1);

}  // namespace

void Live::start(std::span<const Progress> progress, const std::string& eta) {
  rewrites_ = isatty(STDERR_FILENO) != 0;
  if (eta != "always" && !(eta == "auto" && rewrites_)) return;
  progress_ = progress;
  timer_.arm(reactor_, kPeriod);
}

void Live::stop() {
  timer_.cancel();
  if (rewrites_ && shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

void Live::tick() {
  const std::string text = line_.tick(progress_, reactor_.now());
  std::fprintf(stderr, rewrites_ ? "\r\033[K%s" : "%s\n", text.c_str());
  shown_ = true;
  timer_.arm(reactor_, kPeriod);
}

}  // namespace mrpool::load
