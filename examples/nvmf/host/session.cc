#include "examples/nvmf/host/session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::host {
namespace {

constexpr uint16_t kAdminDepth = 31;  // of kMinAdminQueueEntries

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
  std::unique_ptr<Queue> queue;
  Loss loss;
};

Session::Session(Device& device, Pd& pd, MrPool& pool, Reactor& reactor,
                 const SessionOptions& options, News& news)
    : device_(device), pd_(pd), pool_(pool), reactor_(reactor), options_(options), news_(news) {}

Session::~Session() = default;

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
  queue.retain = id != 0 && options_.reconnect;
  return queue;
}

Async<absl::Status> Session::connect() { return controller_->connect(); }

Async<absl::Status> Session::open_queues(std::span<Reactor* const> reactors) {
  const uint32_t entries = controller_->max_queue_entries();
  if (options_.depth >= entries) {
    co_return absl::InvalidArgumentError(absl::StrCat("a depth of ", options_.depth,
                                                      " needs queues of ", options_.depth + 1,
                                                      " entries; the controller allows ", entries));
  }
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
  const uint16_t id = controller_->id();
  for (const auto& io : io_) {
    co_await on(io->queue->reactor());
    io->queue->set_in_capsule_bytes(in_capsule);
    absl::Status status = co_await io->queue->open(id);
    co_await on(reactor_);
    if (!status.ok()) co_return status;
  }
  co_return absl::OkStatus();
}

Async<> Session::close_all() {
  for (const auto& io : io_) {
    co_await on(io->queue->reactor());
    co_await io->queue->close();
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
  co_await close_all();
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
  news_.on_event(to_string(event));
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

Async<> Session::recover(std::string why) {
  // Not from inside the callback of the queue that is to be closed.
  co_await pause(reactor_, Nanoseconds{0});
  news_.on_event(absl::StrCat("connection lost: ", why));
  const Nanoseconds begun = reactor_.now();
  absl::Status status = absl::UnavailableError(absl::StrCat("connection lost: ", why));
  bool back = false;
  while (!back && !leaving_) {
    co_await close_all();
    co_await controller_->admin().close();
    if (!options_.reconnect || reactor_.now() - begun > options_.loss_timeout) break;
    co_await pause(reactor_, options_.reconnect_delay);
    pool_.repair();
    if (leaving_) break;
    lost_again_ = false;
    status = co_await controller_->connect();
    if (status.ok()) status = co_await open_all();
    back = status.ok() && !lost_again_;
  }
  recovering_ = false;
  if (back) {
    ++reconnects_;
    news_.on_event(absl::StrCat("connected again after ",
                                (reactor_.now() - begun) / std::chrono::milliseconds(1), " ms"));
  } else if (!leaving_) {
    co_await give_up_queues();
    news_.on_over(status);
  }
  recovered_.set();
}

}  // namespace mrpool::nvme::host
