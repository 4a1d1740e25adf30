#include "examples/gateway/daemon/runner.h"

#include <time.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"

namespace mrpool::gateway {

namespace asio = boost::asio;

namespace {

// A fence is looked for, and the status renewed, at least so often.
constexpr Nanoseconds kLook = std::chrono::milliseconds(250);
// Others take what is not given back then.
constexpr Nanoseconds kLeave = std::chrono::seconds(6);

std::string shown(Nanoseconds time) {
  return absl::StrCat(time / std::chrono::milliseconds(1), " ms");
}

}  // namespace

Runner::Runner(asio::io_context& loop, const MakeCluster& make, Served& served, Options options)
    : loop_(loop),
      served_(served),
      options_(std::move(options)),
      cluster_(make([this, alive = alive_](const absl::Status& status) {
        if (*alive) failed(status);
      })),
      ownership_(options_.name, options_.groups, options_.times, now()),
      timer_(loop),
      patience_(loop) {
  publish();
}

Runner::~Runner() { *alive_ = false; }

// With the time in which the machine was suspended.
Nanoseconds Runner::now() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

void Runner::start() { turn(); }

void Runner::leave(std::function<void()> done) {
  left_ = std::move(done);
  patience_.expires_after(kLeave);
  patience_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive && left_) std::exchange(left_, nullptr)();
  });
  ownership_.leave(now());
  turn();
}

std::optional<Entry> Runner::guard(std::string_view group) const {
  const std::lock_guard lock(mutex_);
  const auto at = guards_.find(group);
  if (at == guards_.end()) return std::nullopt;
  return at->second;
}

void Runner::refused(std::string_view group) {
  asio::post(loop_, [this, alive = alive_, group = std::string(group)] {
    if (!*alive) return;
    ownership_.fenced(now(), group);
    turn();
  });
}

Status Runner::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Runner::turn() {
  if (turning_) return;
  turning_ = true;
  for (std::vector<Action> actions; !(actions = ownership_.take_actions()).empty();) {
    for (Action& action : actions) carry_out(std::move(action));
  }
  turning_ = false;
  publish();
  if (left_ && ownership_.left()) {
    patience_.cancel();
    std::exchange(left_, nullptr)();
  }
  wait();
}

void Runner::wait() {
  const Nanoseconds until = std::min(ownership_.next_wake() - now(), kLook);
  timer_.expires_after(std::max(until, Nanoseconds(0)));
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    look_for_fences();
    ownership_.wake(now());
    turn();
  });
}

// A store learns of a fence by the end of a request.
void Runner::look_for_fences() {
  for (const std::string& group : options_.groups) {
    if (ownership_.state(group) == State::kServing && served_.fenced(group)) {
      log(group, "the cluster has fenced this gateway's client", true);
      ownership_.fenced(now(), group);
    }
  }
}

template <typename... Arguments>
std::function<void(Arguments...)> Runner::handler(void (Ownership::*input)(Nanoseconds, uint64_t,
                                                                           Arguments...),
                                                  uint64_t id) {
  return [this, alive = alive_, input, id](Arguments... arguments) {
    if (!*alive) return;
    (ownership_.*input)(now(), id, std::move(arguments)...);
    turn();
  };
}

void Runner::carry_out(Action action) {
  switch (action.kind) {
    case Action::Kind::kRead:
      return cluster_->read([this, alive = alive_, id = action.id](std::optional<Records> records) {
        if (!*alive) return;
        if (records) {
          failure_ = absl::OkStatus();
          served_.records_read(*records);
        }
        ownership_.read_done(now(), id, records);
        turn();
      });
    case Action::Kind::kWrite:
      return cluster_->write(std::move(action.write), handler(&Ownership::write_done, action.id));
    case Action::Kind::kConnect:
      return cluster_->connect(action.group, [this, alive = alive_, id = action.id,
                                              group = action.group](std::string client) {
        if (!*alive) return;
        if (!client.empty()) served_.client_changed(group);
        ownership_.connected(now(), id, std::move(client));
        turn();
      });
    case Action::Kind::kFence:
      return fence(action);
    case Action::Kind::kPrepare:
      return served_.prepare(action.group, handler(&Ownership::prepared, action.id));
    case Action::Kind::kServe:
      served_.serve(action.group);
      return note_serving(action.group);
    case Action::Kind::kDrain:
      return served_.drain(action.group, handler(&Ownership::drained, action.id));
    case Action::Kind::kStop:
      served_.stop(action.group);
      return note_stop(action.group);
  }
}

void Runner::fence(const Action& action) {
  for (const std::string& client : action.clients) {
    log(action.group, absl::StrCat("fencing the client ", client), true);
  }
  cluster_->fence(action.group, action.clients,
                  [this, alive = alive_, id = action.id, group = action.group,
                   count = action.clients.size()](bool done) {
                    if (!*alive) return;
                    if (done) counts_[group].fences += count;
                    ownership_.fence_done(now(), id, done);
                    turn();
                  });
}

void Runner::note_serving(const std::string& group) {
  Count& count = counts_[group];
  ++count.takeovers;
  if (count.taking) count.last_takeover = now() - *std::exchange(count.taking, std::nullopt);
  log(group,
      absl::StrCat("served by this gateway, term ", ownership_.term(group), ", after ",
                   shown(count.last_takeover)),
      false);
}

void Runner::note_stop(const std::string& group) {
  ++counts_[group].losses;
  log(group, "no longer served by this gateway: its lease has ended, or it was fenced", true);
}

void Runner::failed(const absl::Status& status) {
  const bool fresh = failure_.ok();
  failure_ = status;
  if (!fresh) return;
  base::log({.event = base::Event::kGatewayLost,
             .message = absl::StrCat("gateway ", options_.name, ": ", status.message())});
}

void Runner::log(const std::string& group, const std::string& what, bool warn) const {
  base::log({.event = warn ? base::Event::kGatewayLost : base::Event::kGatewayOwner,
             .message = absl::StrCat("gateway ", options_.name, ", ", options_.group_word, " ",
                                     group, ": ", what)});
}

void Runner::publish() {
  const Nanoseconds time = now();
  Status next{.name = options_.name,
              .members = ownership_.members(),
              .groups = {},
              .failure = std::string(failure_.message())};
  std::map<std::string, Entry, std::less<>> guards;
  for (const std::string& group : options_.groups) {
    const State state = ownership_.state(group);
    Count& count = counts_[group];
    if (state == State::kOut || state == State::kDraining || state == State::kReleasing) {
      count.taking.reset();
    } else if (state != State::kServing && !count.taking) {
      count.taking = time;
    }
    next.groups.push_back(
        {.name = group,
         .state = state,
         .owner = std::string(ownership_.owner(group)),
         .term = ownership_.term(group),
         .problem = ownership_.problem(group),
         .lease_left = std::max(ownership_.serve_until(group) - time, Nanoseconds(0)),
         .takeovers = count.takeovers,
         .losses = count.losses,
         .fences = count.fences,
         .last_takeover = count.last_takeover});
    if (auto guard = ownership_.guard(group)) guards.emplace(group, *std::move(guard));
  }
  const std::lock_guard lock(mutex_);
  status_ = std::move(next);
  guards_ = std::move(guards);
}

}  // namespace mrpool::gateway
