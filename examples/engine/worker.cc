#include "examples/engine/worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"

namespace mrpool::engine {

absl::StatusOr<std::unique_ptr<Worker>> Worker::create(uint32_t index, Reactor& reactor,
                                                       Protocol& protocol, const Options& options,
                                                       Stores& stores, IoAccounts& accounts) {
  auto staging = Staging::create(reactor, options.staging);
  if (!staging.ok()) return staging.status();
  return std::unique_ptr<Worker>(
      new Worker(index, reactor, protocol, options, stores, accounts, std::move(*staging)));
}

Worker::Worker(uint32_t index, Reactor& reactor, Protocol& protocol, const Options& options,
               Stores& stores, IoAccounts& accounts, std::unique_ptr<Staging> staging)
    : index_(index),
      reactor_(reactor),
      protocol_(protocol),
      options_(options),
      most_links_(std::min(options.max_connections, options.possible_connections)),
      stores_(stores),
      accounts_(accounts),
      staging_(std::move(staging)),
      channels_(reactor),
      mailbox_(reactor) {}

Worker::~Worker() {
  links_.clear();
  channels_.clear();
  devices_.clear();
}

absl::StatusOr<WorkerDevice*> Worker::device(DeviceContext& context) {
  if (const auto at = devices_.find(&context); at != devices_.end()) return at->second.get();
  auto made = WorkerDevice::create(context, reactor_, *staging_);
  if (!made.ok()) return made.status();
  return devices_.emplace(&context, std::move(*made)).first->second.get();
}

// Admission and dispatch.

void Worker::accept(DeviceContext& context, std::unique_ptr<ConnectRequest> request,
                    const Verdict& verdict) {
  const absl::Status status = open(context, *request, verdict);
  if (status.ok()) {
    accepted_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  base::log(
      {.event = base::Event::kConnectionsExhausted,
       .peer = request->info().peer,
       .message = absl::StrCat(protocol_.name(request->info()), ": refused, ", status.message())});
  request->reject(protocol_.no_resources()).IgnoreError();
}

absl::Status Worker::open(DeviceContext& context, ConnectRequest& request, const Verdict& verdict) {
  if (stopping_) return absl::UnavailableError("the target is stopping");
  const uint64_t memory = verdict.layout.worst_memory();
  if (absl::Status status = make_room(memory); !status.ok()) return status;
  auto where = device(context);
  if (!where.ok()) return where.status();
  const uint64_t id = next_link_++;
  auto link = std::make_unique<QpLink>(*this, **where, id, verdict.layout, request.info());
  link->set_session(protocol_.make_session(*this, *link, request.info()));
  if (absl::Status status = link->open(request, verdict.private_data); !status.ok()) {
    return status;
  }
  link_memory_ += memory;
  strangers_.push_back(*link);
  links_.emplace(id, std::move(link));
  link_count_.store(links_.size(), std::memory_order_relaxed);
  if (!ticker_.armed()) ticker_.arm(reactor_, kTick);
  return absl::OkStatus();
}

std::string_view Worker::lack(uint64_t memory) const {
  if (links_.size() - evicting_ >= most_links_) {
    return "there are too many connections";
  }
  if (link_memory_ - evicting_memory_ + memory > options_.max_connection_memory) {
    return "the memory for connections is used up";
  }
  return {};
}

absl::Status Worker::make_room(uint64_t memory) {
  // Destroys finished links first, which may be many after a burst of connections.
  if (!lack(memory).empty()) sweep();
  for (std::string_view why; !(why = lack(memory)).empty();) {
    QpLink* const link = least_standing();
    if (link == nullptr) return absl::ResourceExhaustedError(std::string(why));
    ++evicting_;
    evicting_memory_ += link->layout().worst_memory();
    evicted_.fetch_add(1, std::memory_order_relaxed);
    link->unlink();
    link->evict();
  }
  return absl::OkStatus();
}

// Strangers are dropped first. But a new stranger is dropped after guests; otherwise a flood of
// guests would prevent all others from logging in.
QpLink* Worker::least_standing() {
  const bool old = !strangers_.empty() && reactor_.now() - strangers_.front().began() > kLoginGrace;
  if (!old && !guests_.empty()) return &guests_.front();
  return strangers_.empty() ? nullptr : &strangers_.front();
}

bool Worker::admit(QpLink& link, Standing standing, std::string_view host) {
  if (link.evicted()) return false;
  if (standing == Standing::kMember) {
    const auto at = members_.try_emplace(std::string(host), 0).first;
    if (at->second >= connections_of_one_host(most_links_)) return false;
    ++at->second;
  }
  link.unlink();
  if (standing == Standing::kGuest) guests_.push_back(link);
  return true;
}

Session* Worker::find(uint64_t id) {
  const auto at = links_.find(id);
  return at == links_.end() ? nullptr : &at->second->session();
}

// The life of links.

void Worker::link_finished() {
  if (std::exchange(sweep_posted_, true)) return;
  // Later, because the link's own call is still on the stack.
  mailbox_.post([this] { sweep(); });
}

void Worker::forget(const QpLink& link) {
  const uint64_t memory = link.layout().worst_memory();
  link_memory_ -= memory;
  if (link.evicted()) {
    --evicting_;
    evicting_memory_ -= memory;
  }
  if (link.standing() != Standing::kMember) return;
  const auto at = members_.find(link.host());
  if (--at->second == 0) members_.erase(at);
}

void Worker::sweep() {
  sweep_posted_ = false;
  for (auto at = links_.begin(); at != links_.end();) {
    QpLink& link = *at->second;
    if (!link.finished()) {
      ++at;
      continue;
    }
    link.session().drained();
    forget(link);
    at = links_.erase(at);
  }
  link_count_.store(links_.size(), std::memory_order_relaxed);
  if (stopping_ && links_.empty() && drained_ != nullptr) {
    ticker_.cancel();
    channels_.clear();
    std::exchange(drained_, nullptr)();
  }
}

void Worker::tick() {
  const Nanoseconds now = reactor_.now();
  for (const auto& [id, link] : links_) link->tick(now);
  if (stopping_ && now - stop_began_ > kStopPatience) {
    for (const auto& [id, link] : links_) link->drop("the target stops");
  }
  protocol_.tick(*this);
  look_at_stores(now);
  look_at_limits(now);
  channels_.prune();
  // Without connections there is nothing to check.
  if (!links_.empty() || !channels_.empty()) ticker_.arm(reactor_, stopping_ ? kStopTick : kTick);
}

void Worker::look_at_stores(Nanoseconds now) {
  // During a stop, only these requests are waited for.
  const Nanoseconds limit = stopping_ ? kStopPatience : options_.storage_timeout;
  stores_.look(index_, now, limit, options_.slow_command, [this](const StoreVisitor& each) {
    channels_.visit(each);
    protocol_.visit_stores(*this, each);
  });
}

void Worker::note_trouble(const storage::Volume& store, const storage::Trouble& trouble) {
  stores_.note(store, trouble, reactor_.now(), options_.slow_command);
}

// Reports waits for exhausted resources.
void Worker::look_at_limits(Nanoseconds now) {
  if (const uint64_t waits = staging_waits_.risen(staging_->waits(), now); waits != 0) {
    base::log({.event = base::Event::kStagingExhausted,
               .message = absl::StrCat("worker ", index_, ": ", waits,
                                       " commands waited for staging memory; a larger "
                                       "--staging avoids this")});
  }
  uint64_t exhaustions = 0;
  for (const auto& [context, device] : devices_) {
    if (context->pool() != nullptr) exhaustions += context->pool()->stats().exhaustions;
  }
  if (const uint64_t more = mr_exhaustions_.risen(exhaustions, now); more != 0) {
    base::log({.event = base::Event::kMrsExhausted,
               .message = absl::StrCat("worker ", index_, ": the MR pool was empty ", more,
                                       " times, and transfers waited; a larger --mrs avoids "
                                       "this")});
  }
}

void Worker::stop(std::function<void()> drained) {
  stopping_ = true;
  stop_began_ = reactor_.now();
  drained_ = std::move(drained);
  for (const auto& [id, link] : links_) link->session().stop();
  if (!links_.empty()) ticker_.arm(reactor_, kStopTick);
  sweep();
}

}  // namespace mrpool::engine
