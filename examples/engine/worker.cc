#include "examples/engine/worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/peer_log.h"

namespace mrpool::engine {

Worker::Ticker::Ticker(Worker& owner)
    : Timer([](Timer& self) { static_cast<Ticker&>(self).worker.tick(); }), worker(owner) {}

absl::StatusOr<std::unique_ptr<Worker>> Worker::create(uint32_t index, Reactor& reactor,
                                                       Protocol& protocol, const Options& options) {
  auto staging = Staging::create(reactor, options.staging);
  if (!staging.ok()) return staging.status();
  return std::unique_ptr<Worker>(
      new Worker(index, reactor, protocol, options, std::move(*staging)));
}

Worker::Worker(uint32_t index, Reactor& reactor, Protocol& protocol, const Options& options,
               std::unique_ptr<Staging> staging)
    : index_(index),
      reactor_(reactor),
      protocol_(protocol),
      options_(options),
      staging_(std::move(staging)),
      channels_(reactor),
      mailbox_(reactor),
      ticker_(*this) {}

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
  const absl::Status status = admit(context, *request, verdict);
  if (status.ok()) {
    accepted_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  daemon::say_of_peers(
      absl::StrCat(protocol_.name(request->info()), ": refused, ", status.message()));
  request->reject(protocol_.no_resources());
}

absl::Status Worker::admit(DeviceContext& context, ConnectRequest& request,
                           const Verdict& verdict) {
  if (stopping_) return absl::UnavailableError("the target is stopping");
  // What a storm of connections left behind makes room for this one.
  if (links_.size() >= options_.max_connections) sweep();
  if (links_.size() >= options_.max_connections) {
    return absl::ResourceExhaustedError("there are too many connections");
  }
  const uint64_t memory = verdict.layout.worst_memory();
  if (link_memory_ + memory > options_.max_connection_memory) {
    return absl::ResourceExhaustedError("the memory for connections is used up");
  }
  auto where = device(context);
  if (!where.ok()) return where.status();
  const uint64_t id = next_link_++;
  auto link = std::make_unique<QpLink>(*this, **where, id, verdict.layout, request.info());
  link->set_session(protocol_.make_session(*this, *link, request.info()));
  if (absl::Status status = link->open(request, verdict.private_data); !status.ok()) {
    return status;
  }
  link_memory_ += memory;
  links_.emplace(id, std::move(link));
  link_count_.store(links_.size(), std::memory_order_relaxed);
  if (!ticker_.armed()) ticker_.arm(reactor_, kTick);
  return absl::OkStatus();
}

Session* Worker::find(uint64_t id) {
  const auto at = links_.find(id);
  return at == links_.end() ? nullptr : &at->second->session();
}

void Worker::for_each_link(const std::function<void(QpLink&)>& each) {
  for (const auto& [id, link] : links_) each(*link);
}

// The life of links.

void Worker::link_finished() {
  if (std::exchange(sweep_posted_, true)) return;
  // Not now: the link's own call is still on the stack.
  mailbox_.post([this] { sweep(); });
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
    link_memory_ -= link.layout().worst_memory();
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
  channels_.prune();
  // Without connections there is nothing to look at.
  if (!links_.empty() || !channels_.empty()) ticker_.arm(reactor_, stopping_ ? kStopTick : kTick);
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
