#include "mrpool/reactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "mrpool/callback.h"
#include "transport/reactor/timer_heap.h"

namespace mrpool {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::ElementsAre;

std::unique_ptr<Reactor> make_reactor(Nanoseconds spin = Nanoseconds::zero()) {
  auto reactor = Reactor::create({.spin = spin});
  EXPECT_TRUE(reactor.ok()) << reactor.status();
  return std::move(*reactor);
}

// Calls itself a number and writes it down when it runs.
struct Noted : Task {
  Noted(int number, std::vector<int>& log)
      : Task(to_method<&Noted::note>), number(number), log(&log) {}
  void note() { log->push_back(number); }
  int number;
  std::vector<int>* log;
};

struct NotedTimer : Timer {
  NotedTimer(int number, std::vector<int>& log)
      : Timer(to_method<&NotedTimer::note>), number(number), log(&log) {}
  void note() { log->push_back(number); }
  int number;
  std::vector<int>* log;
};

using StopTask = Bound<Task, &Reactor::stop>;
using StopTimer = Bound<Timer, &Reactor::stop>;

bool readable(int fd, int timeout_ms) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, timeout_ms) == 1;
}

// Polls until nothing is left to do, then goes to sleep as a foreign loop would.
void quiesce(Reactor& reactor) {
  while (reactor.poll() > 0 || !reactor.arm()) {
  }
}

TEST(Reactor, RunsTasksInTheOrderOfPosting) {
  auto reactor = make_reactor();
  std::vector<int> log;
  Noted one(1, log), two(2, log), three(3, log);
  reactor->post(one);
  reactor->post(two);
  EXPECT_EQ(reactor->poll(), 2u);
  reactor->post(three);
  reactor->post(one);  // reusable once it ran
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(1, 2, 3, 1));
}

TEST(Reactor, RunsCallablesInTheirPlaceAndEndsThem) {
  auto reactor = make_reactor();
  std::vector<int> log;
  Noted one(1, log);
  const auto held = std::make_shared<int>(2);
  reactor->post(one);
  reactor->post([&log, held] { log.push_back(*held); });
  auto owned = std::make_unique<int>(3);
  reactor->post([&log, owned = std::move(owned)] { log.push_back(*owned); });
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_TRUE(log.empty());
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(1, 2, 3));
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Reactor, EndsCallablesThatItNeverRan) {
  const auto held = std::make_shared<int>(0);
  auto reactor = make_reactor();
  reactor->post([held] { ++*held; });
  reactor.reset();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 0);
}

TEST(Reactor, EndsWhatItsCallablesOwnAfterItsThread) {
  auto reactor = make_reactor();
  std::vector<int> log;
  auto timer = std::make_shared<NotedTimer>(1, log);
  timer->arm(*reactor, hours(1));
  std::thread([&] { reactor->poll(); }).join();  // its loop was that thread's
  const std::weak_ptr<NotedTimer> left = timer;
  reactor->post([held = std::move(timer)] {});
  reactor.reset();
  EXPECT_TRUE(left.expired());
}

TEST(Reactor, RunsCallablesOfManyThreads) {
  auto reactor = make_reactor(microseconds(10));
  constexpr int kThreads = 4, kEach = 2000;
  int ran = 0;  // the loop's alone
  std::thread loop([&] { reactor->run(); });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) reactor->post([&ran] { ++ran; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  reactor->post([&] { reactor->stop(); });
  loop.join();
  EXPECT_EQ(ran, kThreads * kEach);
}

TEST(Reactor, PostFromAnotherThreadWakesASleepingLoop) {
  auto reactor = make_reactor();
  // The loop is asleep or about to be at most of these; each must be heard.
  constexpr int kTasks = 2000;
  std::atomic<int> ran{0};
  struct Counted : Task {
    explicit Counted(std::atomic<int>& ran) : Task(to_method<&Counted::count>), ran(ran) {}
    void count() { ran.fetch_add(1); }
    std::atomic<int>& ran;
  };
  std::thread loop([&] { reactor->run(); });
  Counted task(ran);
  for (int i = 0; i < kTasks; ++i) {
    reactor->post(task);
    while (ran.load() <= i) std::this_thread::yield();
  }
  reactor->stop();
  loop.join();
  EXPECT_EQ(ran.load(), kTasks);
}

TEST(Reactor, ManyThreadsPostAndEachKeepsItsOrder) {
  auto reactor = make_reactor(microseconds(10));
  constexpr int kThreads = 4;
  constexpr int kPerThread = 5000;
  std::vector<std::vector<int>> logs(kThreads);
  std::thread loop([&] { reactor->run(); });
  std::vector<std::thread> threads;
  std::vector<std::vector<std::unique_ptr<Noted>>> tasks(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kPerThread; ++i) tasks[t].push_back(std::make_unique<Noted>(i, logs[t]));
  }
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (auto& task : tasks[t]) reactor->post(*task);
    });
  }
  for (auto& thread : threads) thread.join();
  StopTask stop(*reactor);
  reactor->post(stop);
  loop.join();
  for (const auto& log : logs) {
    EXPECT_EQ(log.size(), size_t{kPerThread});
    EXPECT_TRUE(std::ranges::is_sorted(log));
  }
}

// A task that notes that it ran and, where asked, takes another one back.
struct TakingBack : Task {
  TakingBack(Reactor& reactor, std::vector<int>& log, int name)
      : Task(to_method<&TakingBack::note>), reactor(reactor), log(log), name(name) {}
  void note() {
    log.push_back(name);
    if (victim == nullptr) return;
    EXPECT_TRUE(reactor.cancel(*std::exchange(victim, nullptr)));
  }
  Reactor& reactor;
  std::vector<int>& log;
  int name;
  Task* victim = nullptr;
};

TEST(Reactor, ATaskThatIsTakenBackDoesNotRun) {
  auto reactor = make_reactor();
  std::vector<int> log;
  TakingBack first(*reactor, log, 1), second(*reactor, log, 2), third(*reactor, log, 3);
  for (Task* task : {&first, &second, &third}) reactor->post(*task);
  EXPECT_TRUE(reactor->cancel(second));
  EXPECT_FALSE(reactor->cancel(second));
  reactor->post(second);  // is the caller's again
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(1, 3, 2));
  EXPECT_FALSE(reactor->cancel(first));  // ran
}

TEST(Reactor, ATaskTakesBackOneOfItsRoundAndOneOfTheNext) {
  auto reactor = make_reactor();
  std::vector<int> log;
  TakingBack first(*reactor, log, 1), second(*reactor, log, 2), third(*reactor, log, 3);
  first.victim = &third;  // of the same round
  for (Task* task : {&first, &second, &third}) reactor->post(*task);
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(1, 2));
  second.victim = &third;
  reactor->post(second);
  reactor->post(third);
  EXPECT_TRUE(reactor->cancel(third));
  reactor->post(third);
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(1, 2, 2));
  EXPECT_EQ(reactor->poll(), 0u);
}

TEST(Reactor, TakingATaskBackDoesNotKeepTheLoopAsleep) {
  auto reactor = make_reactor();
  std::vector<int> log;
  TakingBack never(*reactor, log, 1), task(*reactor, log, 2);
  while (reactor->poll() != 0 || !reactor->arm()) {
  }
  EXPECT_FALSE(reactor->cancel(never));  // nothing is queued, and the mark of the sleep stays
  reactor->post(task);
  pollfd ready{.fd = reactor->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ready, 1, 1000), 1);
  reactor->post(never);
  EXPECT_TRUE(reactor->cancel(never));
  EXPECT_FALSE(reactor->arm());  // `task` waits
  reactor->poll();
  EXPECT_THAT(log, ElementsAre(2));
}

TEST(Reactor, TasksAreTakenBackWhileOthersPost) {
  auto reactor = make_reactor();
  std::vector<int> kept, taken;
  constexpr int kPosts = 20000;
  std::vector<std::unique_ptr<TakingBack>> theirs;
  for (int i = 0; i < kPosts; ++i) {
    theirs.push_back(std::make_unique<TakingBack>(*reactor, kept, i));
  }
  std::thread other([&] {
    for (const auto& task : theirs) reactor->post(*task);
  });
  TakingBack ours(*reactor, taken, 1);
  while (kept.size() < kPosts) {
    reactor->post(ours);
    EXPECT_TRUE(reactor->cancel(ours));
    reactor->poll();
  }
  other.join();
  EXPECT_TRUE(taken.empty());
  EXPECT_TRUE(std::ranges::is_sorted(kept));
}

TEST(Reactor, StopBeforeRunIsNotLost) {
  auto reactor = make_reactor();
  reactor->stop();
  reactor->run();
  StopTimer timer(*reactor);
  timer.arm(*reactor, milliseconds(1));
  reactor->run();  // and it stopped only once
}

TEST(Reactor, TimersExpireInOrderAndCancelledOnesDoNot) {
  auto reactor = make_reactor();
  std::vector<int> log;
  NotedTimer late(3, log), early(1, log), middle(2, log), never(4, log);
  StopTimer stop(*reactor);
  // In one round, which has one time, however long it takes.
  reactor->post([&] {
    late.arm(*reactor, milliseconds(3));
    early.arm(*reactor, milliseconds(1));
    never.arm(*reactor, milliseconds(1));
    middle.arm(*reactor, hours(1));
    middle.arm(*reactor, milliseconds(2));  // arming an armed timer moves it
    stop.arm(*reactor, milliseconds(5));
    never.cancel();
    EXPECT_FALSE(never.armed());
  });
  reactor->run();
  EXPECT_THAT(log, ElementsAre(1, 2, 3));
  EXPECT_FALSE(late.armed());
}

TEST(Reactor, ATimerThatArmsItselfWithoutDelayLeavesRoomForOthers) {
  auto reactor = make_reactor();
  struct Again : Timer {
    explicit Again(Reactor& reactor) : Timer(to_method<&Again::repeat>), reactor(reactor) {}
    void repeat() {
      ++count;
      arm(reactor, Nanoseconds::zero());
    }
    Reactor& reactor;
    int count = 0;
  } again(*reactor);
  again.arm(*reactor, Nanoseconds::zero());
  StopTimer stop(*reactor);
  stop.arm(*reactor, milliseconds(1));
  reactor->run();
  EXPECT_GT(again.count, 0);
}

TEST(Reactor, ALongDelayDoesNotWrapAround) {
  auto reactor = make_reactor();
  std::vector<int> log;
  NotedTimer forever(1, log);
  forever.arm(*reactor, Nanoseconds::max());
  reactor->poll();
  EXPECT_TRUE(forever.armed());
}

TEST(Reactor, ADelayCountsFromTheCallAlsoAfterALongSleep) {
  auto reactor = make_reactor();
  StopTimer second(*reactor);
  struct First : Task {
    First(Timer& second, Reactor& reactor)
        : Task(to_method<&First::arm_second>), second(second), reactor(reactor) {}
    void arm_second() {
      armed_at = std::chrono::steady_clock::now();
      second.arm(reactor, milliseconds(20));
    }
    Timer& second;
    Reactor& reactor;
    std::chrono::steady_clock::time_point armed_at;
  } first(second, *reactor);
  std::thread loop([&] { reactor->run(); });
  std::this_thread::sleep_for(milliseconds(50));  // longer than the delay
  reactor->post(first);
  loop.join();
  EXPECT_GE(std::chrono::steady_clock::now() - first.armed_at, milliseconds(19));
}

// Works a set number of rounds; may veto a sleep.
struct CountingPoller final : Poller {
  bool poll() override {
    ++polls;
    return work > 0 && work-- > 0;
  }
  bool arm() override {
    ++arms;
    return veto == 0 || veto-- == 0;
  }
  int polls = 0, arms = 0, work = 0, veto = 0;
};

TEST(Reactor, PollReportsWorkAndArmAsksEveryPoller) {
  auto reactor = make_reactor();
  CountingPoller a, b;
  reactor->add_poller(a);
  reactor->add_poller(b);
  quiesce(*reactor);
  a.polls = b.polls = a.arms = b.arms = 0;
  a.work = 1;
  EXPECT_EQ(reactor->poll(), 1u);
  EXPECT_EQ(reactor->poll(), 0u);
  EXPECT_EQ(a.polls, 2);
  EXPECT_EQ(b.polls, 2);
  b.veto = 1;
  EXPECT_FALSE(reactor->arm());
  EXPECT_TRUE(reactor->arm());
  EXPECT_EQ(b.arms, 2);
  reactor->remove_poller(a);
  reactor->poll();
  EXPECT_EQ(a.polls, 2);
  reactor->remove_poller(b);
}

TEST(Reactor, PollersMayComeAndGoDuringARound) {
  auto reactor = make_reactor();
  CountingPoller late;
  struct Changer final : Poller {
    Changer(Reactor& reactor, Poller& other) : reactor(reactor), other(other) {}
    bool poll() override {
      reactor.remove_poller(*this);
      reactor.add_poller(other);
      return true;
    }
    bool arm() override { return true; }
    Reactor& reactor;
    Poller& other;
  } changer(*reactor, late);
  reactor->add_poller(changer);
  reactor->poll();
  reactor->poll();
  EXPECT_GE(late.polls, 1);
  reactor->remove_poller(late);
}

TEST(Reactor, FdNotifiesAForeignLoopOfPosts) {
  auto reactor = make_reactor();
  ASSERT_GE(reactor->fd(), 0);
  quiesce(*reactor);
  EXPECT_FALSE(readable(reactor->fd(), 0));
  std::vector<int> log;
  Noted task(1, log);
  std::thread([&] { reactor->post(task); }).join();
  EXPECT_TRUE(readable(reactor->fd(), 1000));
  EXPECT_GT(reactor->poll(), 0u);
  EXPECT_THAT(log, ElementsAre(1));
  quiesce(*reactor);
  EXPECT_FALSE(readable(reactor->fd(), 0));
}

TEST(Reactor, FdNotifiesAForeignLoopOfTimers) {
  auto reactor = make_reactor();
  std::vector<int> log;
  NotedTimer timer(1, log);
  timer.arm(*reactor, milliseconds(5));
  quiesce(*reactor);
  EXPECT_TRUE(readable(reactor->fd(), 1000));
  while (timer.armed()) reactor->poll();
  EXPECT_THAT(log, ElementsAre(1));
}

TEST(Reactor, ATaskAlreadyPostedCallsTheSleepOff) {
  auto reactor = make_reactor();
  quiesce(*reactor);
  reactor->poll();  // awake again
  std::vector<int> log;
  Noted task(1, log);
  reactor->post(task);
  EXPECT_FALSE(reactor->arm());
  reactor->poll();
  EXPECT_TRUE(reactor->arm());
}

TEST(Reactor, EachReactorHasADescriptorOfItsOwn) {
  auto a = make_reactor();
  auto b = make_reactor();
  EXPECT_NE(a->fd(), b->fd());
}

TEST(Reactor, BelongsToTheThreadThatRunsIt) {
  auto reactor = make_reactor();
  EXPECT_TRUE(reactor->in_thread());
  bool inside = false;
  std::thread([&] {
    reactor->poll();
    inside = reactor->in_thread();
  }).join();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(reactor->in_thread());
}

TEST(ReactorDeathTest, ForeignThreadsAreCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto reactor = make_reactor();
  CountingPoller poller;
  EXPECT_DEATH(std::thread([&] { reactor->add_poller(poller); }).join(), "does not run the loop");
}

struct NoTask : Task {
  NoTask() : Task([](Task&) {}) {}
};

TEST(ReactorDeathTest, ATaskThatIsQueuedCannotBePostedAgain) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto reactor = make_reactor();
  NoTask first, last;
  reactor->post(first);
  reactor->post(last);
  const char* const message = "Reactor::post: the Task at 0x.* is queued already";
  EXPECT_DEATH(reactor->post(first), message);
  EXPECT_DEATH(reactor->post(last), message);
  reactor->poll();
  reactor->post(first);
  EXPECT_TRUE(reactor->cancel(first));
  reactor->post(first);
  reactor.reset();
  // It went with its reactor, and can be posted to another.
  auto other = make_reactor();
  other->post(first);
  EXPECT_GE(other->poll(), 1u);
}

TEST(ReactorDeathTest, APollerIsAddedOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto reactor = make_reactor();
  CountingPoller poller;
  reactor->add_poller(poller);
  EXPECT_DEATH(reactor->add_poller(poller), "the Poller at 0x.* was added before");
  reactor->remove_poller(poller);
}

TEST(Reactor, NegativeSpinIsRefused) {
  EXPECT_EQ(Reactor::create({.spin = Nanoseconds(-1)}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TimerHeap, AgreesWithASortedList) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 rng(seed);
  TimerHeap heap;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<Timer*> in_heap;
  for (int i = 0; i < 200; ++i) timers.push_back(std::make_unique<Timer>([](Timer&) {}));
  for (int step = 0; step < 20000; ++step) {
    Timer& timer = *timers[rng() % timers.size()];
    if (auto it = std::ranges::find(in_heap, &timer); it != in_heap.end()) {
      heap.remove(timer);
      in_heap.erase(it);
    } else {
      timer.slot().deadline = Nanoseconds(rng() % 1000);
      heap.add(timer);
      in_heap.push_back(&timer);
    }
    ASSERT_EQ(heap.empty(), in_heap.empty());
    if (in_heap.empty()) continue;
    const auto earliest =
        std::ranges::min(in_heap, {}, [](Timer* in) { return in->slot().deadline; });
    ASSERT_EQ(heap.earliest(), earliest->slot().deadline) << "step " << step;
  }
}

}  // namespace
}  // namespace mrpool
