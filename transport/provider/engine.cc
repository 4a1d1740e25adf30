#include "transport/provider/engine.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>

#include "mrpool/internal/report.h"
#include "transport/provider/capture.h"
#include "transport/provider/device_watch.h"
#include "transport/provider/limits.h"
#include "transport/provider/main_thread.h"
#include "transport/provider/options.h"
#include "transport/provider/patient_network.h"
#include "transport/provider/premature_access.h"
#include "transport/provider/qp_object.h"
#include "transport/uiwarp/limits.h"
#include "transport/uiwarp/open.h"
#include "transport/uiwarp/socket.h"

namespace mrpool::provider {
namespace {

// How long the thread leaves the reactor to a program that polls before it looks again.
constexpr timespec kNapTime{.tv_sec = 0, .tv_nsec = 200'000};
// How often it looks whether it is the last one, after pthread_exit() in main().
constexpr timespec kLastThreadTime{.tv_sec = 0, .tv_nsec = 20'000'000};
// How long the thread polls without finding work before it sleeps, while the program sleeps too.
// One that does not may have work of its own for the core, or poll memory: the thread then sleeps
// at once, and the kernel wakes it when bytes come.
constexpr Nanoseconds kSpin = ReactorOptions{}.spin;

// Rounds in which the program's call does what it has queued, before the thread is woken for it.
constexpr int kRoundsToArm = 3;
// How often the thread offers its processor to those that wait for the lock.
constexpr int kMostYields = 64;

std::mutex engine_mutex;
Engine* engine_of_process = nullptr;

Address any_port(std::string host) {
  return {.transport = "uiwarp", .host = std::move(host), .port = 0, .options = {}};
}

absl::StatusOr<std::shared_ptr<Device>> open_device(const Address& address) {
  const auto options = uiwarp::parse_options(address.options);
  if (!options.ok()) return options.status();
  std::shared_ptr<uiwarp::Network> network = captured_network();
  if (network == nullptr) network = uiwarp::make_socket_network();
  return uiwarp::make_device(*options, make_patient_network(std::move(network)));
}

}  // namespace

// A listener for the QPs whose numbers begin with its port.
struct Engine::Port final : ListenHandler {
  explicit Port(Engine& owner) : engine(owner) {}
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    std::span<const std::byte> data = request->info().private_data;
    const std::optional<Hello> hello = take_hello(data);
    QpObject* qp = hello.has_value() ? engine.find_qp(hello->target_qp) : nullptr;
    if (qp == nullptr) return;  // nobody is expected there: rejected
    qp->meet(std::move(request), *hello);
  }
  Engine& engine;
  std::unique_ptr<Listener> listener;
  uint32_t next = 0;
};

Engine::Engine() = default;
Engine::~Engine() = default;

Engine* Engine::get() {
  const std::lock_guard lock(engine_mutex);
  if (engine_of_process != nullptr) return engine_of_process;
  Engine* engine = new Engine;
  if (!engine->open()) return nullptr;  // set-up failed half way: what it holds stays with it
  static const int registered = [] {
    std::atexit(&Engine::at_exit);
    watch_main_thread(&Engine::wake_to_look);
    return ::pthread_atfork(&Engine::before_fork, &Engine::after_fork_parent,
                            &Engine::after_fork_child);
  }();
  (void)registered;
  engine_of_process = engine;
  return engine;
}

Engine* Engine::made() {
  const std::lock_guard lock(engine_mutex);
  return engine_of_process;
}

bool Engine::open() {
  const auto is = [](const char* variable, std::string_view value) {
    const char* set = std::getenv(variable);
    return set != nullptr && value == set;
  };
  if (const absl::Status status = checker::Checker::start(); !status.ok()) {
    internal::report(std::string(status.message()), LogLevel::kError);
    errno = EINVAL;
    return false;
  }
  observe_for_checker(*this);
  if (const absl::Status status = PrematureAccess::start(*this); !status.ok()) {
    internal::report(std::string(status.message()), LogLevel::kError);
    errno = EINVAL;
    return false;
  }
  guard_ = PrematureAccess::guard();
  relaxed_ = guard_ != nullptr || is(kOrderingVariable, kRelaxed);
  iwarp_ = is_iwarp();
  acknowledges_ = is(kCompletionsVariable, kAcknowledged);
  report_ = is(kStatsVariable, "1");
  errno = ENODEV;
  auto reactor = Reactor::create({.spin = kSpin});
  if (!reactor.ok()) return false;
  reactor_ = *std::move(reactor);
  Address address = any_port("");
  address.options = is(kCrcVariable, kOff) ? "crc=off" : "crc=on";
  if (guard_ != nullptr) {
    address.options +=
        "&placement=adversarial&seed=" + std::to_string(checker::Checker::get()->seed());
  }
  auto device = open_device(address);
  if (!device.ok()) return false;
  device_ = *std::move(device);
  auto cq = device_->create_cq(*reactor_, {.depth = uiwarp::kMaxCqEntries});
  if (!cq.ok()) return false;
  cq_ = *std::move(cq);
  reactor_->add_poller(*this);
  reactor_fd_ = reactor_->fd();
  wake_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd_ < 0) return false;
  // The program's signals are for the program's threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}

void Engine::serve() {
  uint64_t seen = polls_.load(std::memory_order_relaxed);
  auto busy = std::chrono::steady_clock::now();
  while (!ended_.load(std::memory_order_relaxed)) {
    const uint64_t polls = polls_.load(std::memory_order_relaxed);
    const bool program_polls = polls != seen;
    seen = polls;
    if (!program_polls) end_if_last();
    if (program_polls && armed_.load(std::memory_order_relaxed) == 0) {
      nap();
      continue;
    }
    bool asleep = false;
    {
      const std::unique_lock lock = lock_patiently();
      const guard::DeviceScope device(guard_);
      if (guard_ != nullptr) report_touches();
      if (reactor_->poll() > 0) {
        busy = std::chrono::steady_clock::now();
      } else if (armed_.load(std::memory_order_relaxed) == 0 ||
                 std::chrono::steady_clock::now() - busy >= kSpin) {
        asleep = reactor_->arm();
        asleep_.store(asleep, std::memory_order_relaxed);
      }
    }
    if (!asleep) {
      let_sessions_in();
      continue;
    }
    sleep();
    busy = std::chrono::steady_clock::now();
  }
}

void Engine::end_if_last() {
  if (!main_thread_ended()) [[likely]]
    return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_look_) return;
  next_look_ = now + std::chrono::nanoseconds(kLastThreadTime.tv_nsec);
  if (is_last_thread(::gettid())) std::exit(0);
}

void Engine::nap() { wait(false, &kNapTime); }

void Engine::sleep() {
  // Without /proc the reactor has no descriptor to sleep on.
  const timespec* const limit = main_thread_ended() ? &kLastThreadTime : nullptr;
  wait(true, reactor_fd_ < 0 ? &kNapTime : limit);
}

void Engine::wait(bool on_reactor, const timespec* limit) {
  pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {reactor_fd_, POLLIN, 0}};
  const bool both = on_reactor && reactor_fd_ >= 0;
  ::ppoll(fds, both ? 2 : 1, limit, nullptr);
  uint64_t count;
  if ((fds[0].revents & POLLIN) != 0) (void)!::read(wake_fd_, &count, sizeof count);
  asleep_.store(false, std::memory_order_relaxed);
}

void Engine::wake() {
  asleep_.store(false, std::memory_order_relaxed);
  ::eventfd_write(wake_fd_, 1);
}

void Engine::keep_asleep() {
  // A program that waits for completions is to have the reactor for itself: the thread wakes up and
  // naps.
  const bool sleeps = armed_.load(std::memory_order_relaxed) > 0;
  const int rounds = sleeps ? kRoundsToArm : polls_in_vain() ? 0 : 1;
  const int result = errno;  // of the call that ends
  bool armed = false;
  for (int i = 0; reactor_fd_ >= 0 && !armed && i < rounds; ++i) {
    if (i > 0) reactor_->poll();
    armed = reactor_->arm();
  }
  if (!armed) wake();
  errno = result;
}

std::unique_lock<std::mutex> Engine::lock_patiently() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  for (int i = 0; !lock.owns_lock() && i < kMostYields; ++i) {
    ::sched_yield();
    (void)lock.try_lock();
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

void Engine::let_sessions_in() {
  for (int i = 0; i < kMostYields && waiting_.load(std::memory_order_relaxed) > 0; ++i) {
    ::sched_yield();
  }
}

void Engine::wake_to_report() { wake_to_look(); }

void Engine::wake_to_look() {
  if (engine_of_process != nullptr) engine_of_process->wake();
}

void Engine::report_touches() { PrematureAccess::get()->report(); }

void Engine::count_armed(int change) {
  const int before = armed_.fetch_add(change, std::memory_order_relaxed);
  // The thread may be napping because the program polled until now.
  if (before == 0 && change > 0) ::eventfd_write(wake_fd_, 1);
}

bool Engine::add_stalled(QpObject& qp) {
  if (std::find(stalled_.begin(), stalled_.end(), &qp) != stalled_.end()) return false;
  stalled_.push_back(&qp);
  return true;
}

void Engine::remove_stalled(QpObject& qp) { std::erase(stalled_, &qp); }

bool Engine::poll() {
  bool worked = false;
  for (size_t i = 0; i < stalled_.size();) {
    QpObject* qp = stalled_[i];
    worked |= qp->resume();
    if (i < stalled_.size() && stalled_[i] == qp) ++i;
  }
  return worked;
}

bool Engine::arm() {
  return std::none_of(stalled_.begin(), stalled_.end(),
                      [](const QpObject* qp) { return qp->has_credit(); });
}

uint32_t Engine::add_qp(QpObject& qp) {
  for (size_t i = 0;; ++i) {
    if (i == ports_.size()) {
      auto port = std::make_unique<Port>(*this);
      auto listener = device_->listen(*reactor_, any_port("0.0.0.0"), *port);
      if (!listener.ok()) {
        errno = EADDRNOTAVAIL;
        return 0;
      }
      port->listener = *std::move(listener);
      ports_.push_back(std::move(port));
    }
    Port& port = *ports_[i];
    for (int tries = 0; tries < kQpsPerListener; ++tries) {
      const uint32_t number =
          uint32_t{port.listener->port()} * kQpsPerListener + port.next++ % kQpsPerListener;
      if (qps_.emplace(number, &qp).second) return number;
    }
  }
}

QpObject* Engine::find_qp(uint32_t number) {
  const auto found = qps_.find(number);
  return found == qps_.end() ? nullptr : found->second;
}

QpObject* Engine::owner_of(const Qp* qp) const {
  const auto found = owners_.find(qp);
  return found == owners_.end() ? nullptr : found->second;
}

void Engine::before_fork() {
  engine_mutex.lock();
  if (engine_of_process != nullptr) engine_of_process->mutex_.lock();
}

void Engine::after_fork_parent() {
  if (engine_of_process != nullptr) engine_of_process->mutex_.unlock();
  engine_mutex.unlock();
}

void Engine::after_fork_child() {
  if (engine_of_process != nullptr) {
    engine_of_process->forked_.store(true);
    engine_of_process->mutex_.unlock();
    engine_of_process = nullptr;
  }
  engine_mutex.unlock();
}

void Engine::at_exit() {
  Engine* engine = nullptr;
  {
    const std::lock_guard lock(engine_mutex);
    engine = engine_of_process;
  }
  if (engine != nullptr) engine->finish();
}

// The process ends: what was sent must have left it.
void Engine::finish() {
  std::string report;
  {
    const Session session(*this);
    for (const auto& [number, qp] : qps_) qp->disconnect();
    const auto until = std::chrono::steady_clock::now() + kCloseTime;
    const auto linked = [](const auto& each) { return each.second->linked(); };
    while (std::any_of(qps_.begin(), qps_.end(), linked) &&
           std::chrono::steady_clock::now() < until) {
      if (reactor_->poll() == 0) ::usleep(kCloseStep);
    }
    if (report_) report = statistics_.report();
  }
  // Nothing of ours may run while the process takes its libraries down.
  ended_.store(true, std::memory_order_relaxed);
  wake();
  if (std::this_thread::get_id() == thread_.get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
  (void)!::write(STDERR_FILENO, report.data(), report.size());
}

}  // namespace mrpool::provider
