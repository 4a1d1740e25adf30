#include "tests/sim/board_world.h"

#include <cstdio>
#include <string_view>
#include <utility>

#include "mrpool/log.h"
#include "tests/sim/board_client.h"
#include "tests/sim/board_server.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

namespace {

// Every device reports what its sanitizer withheld, at the end of every run.
void errors_only(void*, LogLevel level, std::string_view line) {
  if (level == LogLevel::kInfo) return;
  std::fprintf(stderr, "mrpool: %.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace

BoardWorld::BoardWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : HostWorld(seed_in, plant_in, violated_in) {
  set_log_sink(errors_only);
  network = std::make_shared<SimNetwork>(reactor, NetworkOptions{.seed = seed});
  const bool adversarial = chance(700);
  device = uiwarp::make_device({.crc = chance(700),
                                .adversarial_placement = adversarial,
                                .poison = adversarial && chance(500),
                                .seed = seed},
                               network);
  server_ = std::make_unique<BoardServer>(*this);
  const uint64_t count = 2 + below(3);
  for (uint64_t i = 0; i < count; ++i) hosts_.push_back(std::make_unique<BoardClient>(*this));
}

BoardWorld::~BoardWorld() {
  hosts_.clear();
  server_.reset();
  device.reset();
  set_log_sink(nullptr);
}

BoardSealed* BoardWorld::sealed(uint32_t note, uint64_t token) {
  return server_->sealed(note, token);
}

void BoardWorld::given(uint64_t number) {
  note(number);
  if (!given_.insert(number).second) {
    violate("number " + std::to_string(number) + " was given twice");
  }
}

void BoardWorld::disturb() {
  if (below(1'000'000) >= 800) return;
  switch (below(4)) {
    case 0:
      network->break_one();
      return;
    case 1:
      hosts_[below(hosts_.size())]->kill();
      return;
    case 2:
      server_->kill_one();
      return;
    default:
      network->set_options(bad_network());
  }
}

size_t BoardWorld::connections() const { return server_->connections(); }

std::string BoardWorld::target_state() const {
  return server_ == nullptr ? "not there" : server_->state();
}

void BoardWorld::check_board() const {
  const BoardMemory& board = server_->board();
  if (board.lock == 0 && !board.record.whole()) violate("nobody holds the lock of a torn record");
}

void BoardWorld::check_target() {
  const uint64_t next = server_->board().next;
  if (next < given_.size() || next > asked_ || (!given_.empty() && *given_.rbegin() >= next)) {
    violate("the next number is " + std::to_string(next) + ": " + std::to_string(asked_) +
            " were asked for and " + std::to_string(given_.size()) + " given");
  }
  if (server_->board().lock != 0) violate("the lock has no holder and is not free");
}

void BoardWorld::stop_target(std::function<void()> stopped) {
  server_.reset();
  stopped();
}

}  // namespace mrpool::sim
