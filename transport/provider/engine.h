// The one device of the process, the reactor it lives on, and who drives that reactor.
//
// Who makes progress: a program that polls its Cqs drives the reactor itself, from ibv_poll_cq. A
// thread of the engine looks now and then whether that is so, and sleeps again when it is.
// When the program stopped polling, or armed a Cq to sleep on its channel, the thread drives the
// reactor and sleeps in the kernel while nothing happens.
//
// One lock covers all state of the provider, the reactor included: a Session holds it. The thread
// tries not to be inside while the program polls, so the lock has no second user on that path.
// While it looks for work it lets each Session that waits for the lock go first. While a Cq is
// armed, a Session that finds it asleep drives the reactor and arms it again, so that it can sleep
// on.
//
// fork: the child owns none of the parent's connections. Every Session of an object that the
// parent made fails there; objects that the child makes belong to an engine of its own.
//
// Ownership: engines live until the process ends. Thread safety: any thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "mrpool/device.h"
#include "transport/checker/guard/guard.h"
#include "transport/provider/statistics.h"

namespace mrpool::provider {

class QpObject;

class Engine final : public Poller {
 public:
  // The engine of this process, made at the first call; null with errno when that fails.
  static Engine* get();
  // The one that there is; null before the first call, and in a child that made none.
  static Engine* made();

  Device& device() { return *device_; }
  Reactor& reactor() { return *reactor_; }
  Cq& cq() { return *cq_; }
  Statistics& statistics() { return statistics_; }
  bool relaxed() const { return relaxed_; }
  bool acknowledges() const { return acknowledges_; }
  bool iwarp() const { return iwarp_; }

  // All below: inside a Session.
  // A round of the reactor for a program that polls.
  void drive() { reactor_->poll(); }
  // After each poll of a Cq: whether it brought nothing.
  void count_poll(bool in_vain) {
    vain_polls_ = in_vain ? vain_polls_ + 1 : 0;
    if (polls_in_vain()) polls_.fetch_add(1, std::memory_order_relaxed);
  }
  // A Cq was armed (+1) or fired (-1).
  void count_armed(int change);
  // QPs whose sends wait for the peer to post receives; asked again in every round. False: it is
  // among them already.
  bool add_stalled(QpObject& qp);
  void remove_stalled(QpObject& qp);
  // QP numbers. A new one is 0 with errno when no port is left.
  uint32_t add_qp(QpObject& qp);
  void remove_qp(uint32_t number) { qps_.erase(number); }
  QpObject* find_qp(uint32_t number);
  // Which QP a connection of the device belongs to; null when it is gone.
  void set_owner(const Qp& qp, QpObject& owner) { owners_[&qp] = &owner; }
  void remove_owner(const Qp& qp) { owners_.erase(&qp); }
  QpObject* owner_of(const Qp* qp) const;

  // What the program touched of guarded memory is reported soon, even if it calls nothing. In
  // signal handlers.
  static void wake_to_report();
  // The engine's thread looks again at what it does.
  static void wake_to_look();

 private:
  friend class Session;
  struct Port;

  Engine();
  ~Engine();
  bool open();
  void serve();
  // Where the checker's guards are concerned, and findings may be reported to the program.
  void report_touches();
  // Leaves the reactor to the program for a moment, or until a Cq is armed.
  void nap();
  // Sleeps until the reactor has work or a Session wakes the thread.
  void sleep();
  void wait(bool on_reactor, const timespec* limit);
  // Ends the process when no thread of the program is left.
  void end_if_last();
  void wake();
  // The program waits for completions and nothing else. Inside a Session.
  bool polls_in_vain() const { return vain_polls_ >= kVainPolls; }
  // After a Session that found the thread asleep: lets it sleep on, or wakes it.
  void keep_asleep();
  // The thread takes the lock. A Session that has it may have been interrupted on the same
  // processor: it gets the processor back first.
  std::unique_lock<std::mutex> lock_patiently();
  // The thread, without the lock: lets those that wait for it go first.
  void let_sessions_in();
  static void before_fork();
  static void after_fork_parent();
  static void after_fork_child();
  static void at_exit();
  void finish();

  // Poller.
  bool poll() override;
  bool arm() override;

  std::mutex mutex_;
  std::unique_ptr<Reactor> reactor_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Cq> cq_;
  Statistics statistics_;
  bool relaxed_ = false;
  bool acknowledges_ = false;
  bool iwarp_ = false;
  bool report_ = false;
  guard::Guard* guard_ = nullptr;  // null: no memory is guarded
  std::atomic<bool> forked_{false};

  std::vector<std::unique_ptr<Port>> ports_;
  std::map<uint32_t, QpObject*> qps_;
  std::unordered_map<const Qp*, QpObject*> owners_;
  std::vector<QpObject*> stalled_;

  // So many polls in a row without a completion mean that the program waits for one. A program that
  // polls memory asks a Cq once or twice for what it has sent.
  static constexpr uint32_t kVainPolls = 4;
  uint32_t vain_polls_ = 0;  // in a row

  // The thread.
  std::atomic<uint64_t> polls_{0};  // by a program that waits for completions
  // Sessions that want the lock. It publishes nothing: a count that is seen late costs a wait.
  std::atomic<int> waiting_{0};
  std::atomic<int> armed_{0};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> ended_{false};
  std::chrono::steady_clock::time_point next_look_;
  int wake_fd_ = -1;
  int reactor_fd_ = -1;
  std::thread thread_;
};

// The engine's lock, and the right to call the reactor. ok() is false in a forked child.
class Session {
 public:
  explicit Session(Engine& engine) : engine_(engine), lock_(take(engine)), device_(engine.guard_) {
    ok_ = !engine.forked_.load(std::memory_order_relaxed);
    // The reactor belongs to the thread that ran the last round. While the thread sleeps it is
    // armed, which a round ends.
    if (ok_ && (found_asleep() || !engine.reactor_->in_thread())) engine.reactor_->poll();
  }
  ~Session() {
    if (engine_.guard_ != nullptr) [[unlikely]]
      engine_.report_touches();
    if (ok_ && found_asleep()) engine_.keep_asleep();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  bool ok() const { return ok_; }
  std::unique_lock<std::mutex>& lock() { return lock_; }

 private:
  static std::unique_lock<std::mutex> take(Engine& engine) {
    std::unique_lock lock(engine.mutex_, std::try_to_lock);
    if (lock.owns_lock()) return lock;
    engine.waiting_.fetch_add(1, std::memory_order_relaxed);
    lock.lock();
    engine.waiting_.fetch_sub(1, std::memory_order_relaxed);
    return lock;
  }
  bool found_asleep() const { return engine_.asleep_.load(std::memory_order_relaxed); }

  Engine& engine_;
  std::unique_lock<std::mutex> lock_;
  const guard::DeviceScope device_;
  bool ok_ = false;
};

}  // namespace mrpool::provider
