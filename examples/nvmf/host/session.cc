#include "examples/nvmf/host/session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::host {
namespace {

constexpr uint16_t kAdminDepth = 31;  // of kMinAdminQueueEntries
constexpr Nanoseconds kLongestPause = std::chrono::milliseconds(100);

absl::Status of_queue(const absl::Status& status, size_t number, size_t of) {
  if (of == 1) return status;
  return absl::Status(status.code(),
                      absl::StrCat("I/O queue ", number, " of ", of, ": ", status.message()));
}

}  // namespace

uint32_t session_mrs(const SessionOptions& options, uint32_t queues) {
  return queues * options.depth + kAdminDepth;
}

// A queue, and the way its loss travels from its reactor to the session's.
struct Session::IoQueue {
  struct Loss final : Task {
    explicit Loss(Session& owner) : Task(to_method<&Loss::report>), session(owner) {}
    void report() {
      const std::string reason = std::move(why);
      posted.store(false, std::memory_order_release);
      session.lost(reason);
    }
    Session& session;
    std::string why;
    // Pairs with the release above: `why` may be written again once the session has read it.
    std::atomic<bool> posted{false};
  };

  explicit IoQueue(Session& session) : loss(session) {}
  ~IoQueue() {
    if (loss.posted.load(std::memory_order_acquire)) loss.session.reactor_.cancel(loss);
  }
  std::unique_ptr<Queue> queue;
  Loss loss;
};

Session::Session(Device& device, Pd& pd, MrPool& pool, Reactor& reactor,
                 const SessionOptions& options, News& news)
    : device_(device), pd_(pd), pool_(pool), reactor_(reactor), options_(options), news_(news) {}

// The coroutines that wait for the controller end while there is all they use.
Session::~Session() {
  if (controller_ != nullptr) controller_->end();
}

Queue& Session::queue(size_t index) { return *io_[index]->queue; }

absl::StatusOr<std::unique_ptr<Session>> Session::create(Device& device, Pd& pd, MrPool& pool,
                                                         Reactor& reactor,
                                                         const SessionOptions& options,
                                                         News& news) {
  std::unique_ptr<Session> session(new Session(device, pd, pool, reactor, options, news));
  ControllerOptions controller;
  controller.admin = session->queue_options(reactor, 0, kAdminDepth);
  const bool discovery = options.subnqn == kDiscoveryNqn;
  controller.keep_alive = discovery ? Nanoseconds{0} : options.keep_alive;
  controller.async_events = !discovery;
  controller.access_events = options.one_of_many;
  auto made = Controller::create(controller, *session);
  if (!made.ok()) return made.status();
  session->controller_ = *std::move(made);
  return session;
}

QueueOptions Session::queue_options(Reactor& reactor, uint16_t id, uint16_t depth) const {
  QueueOptions queue;
  queue.device = &device_;
  queue.pd = &pd_;
  queue.pool = &pool_;
  queue.reactor = &reactor;
  queue.address = options_.address;
  queue.host = options_.host;
  queue.subnqn = options_.subnqn;
  queue.queue_id = id;
  queue.depth = depth;
  queue.connect_timeout = options_.connect_timeout;
  queue.command_timeout = options_.command_timeout;
  queue.retain = id != 0 && options_.reconnect && !options_.one_of_many;
  queue.one_of_many = options_.one_of_many;
  queue.secrets = options_.secrets;
  queue.reauthenticate = options_.reauthenticate;
  return queue;
}

Async<absl::Status> Session::connect() {
  absl::Status status = co_await controller_->connect();
  if (!status.ok() && recovering_) {
    // The connection was established and lost: the caller learns it here.
    leaving_ = true;
    co_await recovered_;
    leaving_ = false;
    if (giving_up_ && ended_) status = *ended_;
  }
  co_return status;
}

absl::Status Session::check_depth() const {
  const uint32_t most = controller_->max_queue_entries() - 1;
  if (options_.depth <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--iodepth ", options_.depth, ": the target's queues hold ", most,
                   " commands; ask for --iodepth ", most, " at most"));
}

Async<absl::Status> Session::open_queues(std::span<Reactor* const> reactors) {
  if (absl::Status status = check_depth(); !status.ok()) co_return status;
  for (Reactor* reactor : reactors) {
    co_await on(*reactor);
    auto io = std::make_unique<IoQueue>(*this);
    auto queue =
        Queue::create(queue_options(*reactor, uint16_t(io_.size() + 1), options_.depth), *this);
    if (queue.ok()) io->queue = *std::move(queue);
    co_await on(reactor_);
    if (!queue.ok()) co_return queue.status();
    io_.push_back(std::move(io));
  }
  co_return co_await open_all();
}

// The controller is connected: its queues.
Async<absl::Status> Session::open_all() {
  if (io_.empty()) co_return absl::OkStatus();
  const auto granted = co_await controller_->set_queue_count(uint16_t(io_.size()));
  if (!granted.ok()) co_return granted.status();
  if (*granted < io_.size()) {
    co_return absl::ResourceExhaustedError(absl::StrCat("the controller grants ", *granted,
                                                        " I/O queues of the ", io_.size(),
                                                        " wanted; use fewer jobs"));
  }
  const uint32_t in_capsule = controller_->in_capsule_bytes();
  const RetryDelays retry_delays = controller_->retry_delays();
  const uint16_t id = controller_->id();
  size_t number = 0;
  for (const auto& io : io_) {
    ++number;
    co_await on(io->queue->reactor());
    io->queue->set_in_capsule_bytes(in_capsule);
    io->queue->set_retry_delays(retry_delays);
    absl::Status status = co_await io->queue->open(id);
    co_await on(reactor_);
    if (!status.ok()) co_return of_queue(status, number, io_.size());
  }
  co_return absl::OkStatus();
}

Async<> Session::close_all(std::string why) {
  for (const auto& io : io_) {
    co_await on(io->queue->reactor());
    co_await io->queue->close(why);
    co_await on(reactor_);
  }
}

// Every command ends; nobody opens the queues again.
Async<> Session::give_up_queues() {
  for (const auto& io : io_) {
    co_await on(io->queue->reactor());
    io->queue->give_up();
    co_await io->queue->close();
    co_await on(reactor_);
  }
}

// Queues go in the threads they live in.
Async<> Session::destroy_queues() {
  for (const auto& io : io_) {
    co_await on(io->queue->reactor());
    const QueueCounters counters = io->queue->counters();
    io->queue.reset();
    co_await on(reactor_);
    counters_ += counters;
  }
  io_.clear();
}

Async<> Session::disconnect() {
  leaving_ = true;
  if (recovering_) co_await recovered_;
  co_await close_all("closed by this host");
  co_await give_up_queues();
  co_await destroy_queues();
  co_await controller_->disconnect();
}

QueueCounters Session::counters() const {
  QueueCounters sum = counters_;
  sum += controller_->admin().counters();
  for (const auto& io : io_) sum += io->queue->counters();
  return sum;
}

void Session::on_controller_lost(Controller&, const std::string& why) { lost(why); }

void Session::on_async_event(Controller&, const AsyncEvent& event) {
  // It concerns the path, not the namespace.
  if (event.log_page == NVME_LOG_LID_ANA) return news_.on_access_changed();
  news_.on_event(to_string(event));
  changed_ = true;
  if (pinned_ && !looking_) spawn(look_again());
}

// Whatever the event was about: is the namespace still the one it was?
Async<> Session::look_again() {
  looking_ = true;
  const uint32_t round = reconnects_;
  absl::Status same;
  do {
    changed_ = false;
    const bool held = co_await hold_queues(round);
    if (!held) co_return;
    same = co_await check_pinned();
    // Lost: the coroutine that connects again compares too, and this object may be on its way out.
    if (absl::IsUnavailable(same)) co_return;
  } while (same.ok() && changed_);
  if (round != reconnects_) co_return;
  looking_ = false;
  if (!same.ok()) co_return end(std::move(same));
  co_await release_queues(round);
}

// False: the connections are gone meanwhile; open() releases those that come.
Async<bool> Session::hold_queues(uint32_t round) {
  for (size_t i = 0; still_in(round) && i < io_.size(); ++i) {
    Queue& queue = *io_[i]->queue;
    co_await on(queue.reactor());
    co_await queue.hold();
    co_await on(reactor_);
  }
  co_return still_in(round);
}

Async<> Session::release_queues(uint32_t round) {
  // Another event may have them held again.
  for (size_t i = 0; still_in(round) && !looking_ && i < io_.size(); ++i) {
    Queue& queue = *io_[i]->queue;
    co_await on(queue.reactor());
    queue.release();
    co_await on(reactor_);
  }
}

Async<absl::Status> Session::cause() {
  if (recovering_) {
    leaving_ = true;
    co_await recovered_;
    leaving_ = false;
  }
  if (ended_) co_return *ended_;
  absl::Status same = co_await check_pinned();
  if (absl::IsAborted(same)) co_return same;
  if (!absl::IsUnavailable(same)) co_return absl::OkStatus();
  // Lost while it looked: the end of the session is the cause, if it has ended.
  if (recovering_) co_return co_await cause();
  co_return same;
}

Async<absl::Status> Session::check_pinned() {
  if (!pinned_) co_return absl::OkStatus();
  // First by name alone: to the controller, Identify Namespace means that this host accepts the
  // namespace that is there now, and commands may be on their way.
  const absl::Status named = co_await controller_->check_identifiers(*pinned_);
  if (!named.ok()) co_return named;
  const auto ns = co_await controller_->namespace_info(pinned_->nsid, Controller::Look::kAgain);
  if (ns.ok()) co_return check_same(*pinned_, *ns);
  if (absl::IsUnavailable(ns.status())) co_return ns.status();
  // A target may show that the namespace is gone before it shows what has taken its place.
  const absl::Status now = co_await controller_->check_identifiers(*pinned_);
  if (!now.ok()) co_return now;
  // Another look at its shape would mean to the target that this host accepts it.
  co_return absl::AbortedError(
      absl::StrCat("namespace ", pinned_->nsid,
                   " was replaced: it was missing for a moment and has the same "
                   "identifiers again, as when its block size changes; `identify` shows it"));
}

void Session::on_lost(Queue& queue, const std::string& why) {
  IoQueue& io = **std::find_if(io_.begin(), io_.end(), [&](const auto& candidate) {
    return candidate->queue.get() == &queue;
  });
  if (io.loss.posted.exchange(true, std::memory_order_acquire)) return;
  io.loss.why = why;
  reactor_.post(io.loss);
}

void Session::lost(const std::string& why) {
  if (recovering_) lost_again_ = true;
  if (recovering_ || leaving_) return;
  recovering_ = true;
  recovered_.reset();
  spawn(recover(why));
}

void Session::end(absl::Status why) {
  if (recovering_ || leaving_) return;
  recovering_ = true;
  recovered_.reset();
  spawn(finish(std::move(why)));
}

void Session::give_up(const std::string& why) {
  giving_up_ = true;
  if (recovering_ || leaving_) controller_->admin().abort(why);
  end(absl::CancelledError(why));
}

// The session is over: closes what is open, ends every command, and calls the owner.
Async<> Session::finish(absl::Status why) {
  // Not from inside the callback of the queue that is to be closed.
  co_await pause(reactor_, Nanoseconds{0});
  const std::string text(why.message());
  co_await close_all(text);
  co_await controller_->admin().close(text);
  co_await give_up_queues();
  recovering_ = false;
  ended_ = why;
  if (!leaving_) news_.on_over(why);
  recovered_.set();
}

Async<> Session::recover(std::string why) {
  co_await pause(reactor_, Nanoseconds{0});
  if (options_.reconnect) news_.on_event(absl::StrCat("connection lost: ", why));
  news_.on_connection(false);
  const Nanoseconds begun = reactor_.now();
  absl::Status status = absl::UnavailableError(absl::StrCat("connection lost: ", why));
  const auto wanted = [this] { return options_.reconnect && !leaving_ && !giving_up_; };
  for (;;) {
    co_await close_all(why);
    co_await controller_->admin().close(why);
    if (reactor_.now() - begun > options_.loss_timeout) break;
    // In small steps: somebody may want to leave.
    const Nanoseconds wait_until = reactor_.now() + options_.reconnect_delay;
    while (wanted() && reactor_.now() < wait_until) {
      co_await pause(reactor_, std::min(wait_until - reactor_.now(), kLongestPause));
    }
    if (!wanted()) break;
    pool_.repair();
    lost_again_ = false;
    looking_ = false;
    status = co_await controller_->connect();
    // Before anything is written: which namespace has the number now?
    if (status.ok()) status = co_await check_pinned();
    if (absl::IsAborted(status)) break;
    if (status.ok()) status = co_await open_all();
    // If this was the last attempt, the session is over by it.
    if (status.ok() && lost_again_) {
      status = absl::UnavailableError(absl::StrCat("connection lost: ", why));
    }
    if (!status.ok()) continue;
    recovering_ = false;
    ++reconnects_;
    news_.on_event(absl::StrCat("connected again after ",
                                (reactor_.now() - begun) / std::chrono::milliseconds(1), " ms"));
    news_.on_connection(true);
    recovered_.set();
    co_return;
  }
  co_await finish(status);
}

}  // namespace mrpool::nvme::host
