// Calls from several threads to one loop: each runs once, those of a thread in its order, and run()
// returns after its call has run. The thread sanitizer watches.
#include "examples/engine/mailbox.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "mrpool/reactor.h"

namespace mrpool::engine {
namespace {

TEST(Mailbox, RunsEveryCallOnceInTheOrderOfItsThread) {
  constexpr int kThreads = 4, kCalls = 2000;
  auto reactor = Reactor::create();
  ASSERT_TRUE(reactor.ok()) << reactor.status();
  auto mailbox = std::make_unique<Mailbox>(**reactor);
  std::vector<std::vector<int>> ran(kThreads);
  std::thread loop([&] {
    (*reactor)->run();
    mailbox.reset();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) mailbox->post([&, t, i] { ran[t].push_back(i); });
      size_t seen = 0;
      mailbox->run([&] { seen = ran[t].size(); });
      EXPECT_EQ(seen, size_t{kCalls}) << "after all that this thread had posted";
    });
  }
  for (std::thread& thread : threads) thread.join();
  (*reactor)->stop();
  loop.join();
  for (const std::vector<int>& calls : ran) {
    ASSERT_EQ(calls.size(), size_t{kCalls});
    EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  }
}

TEST(Mailbox, EndsWithCallsThatHaveNotRun) {
  auto reactor = Reactor::create();
  ASSERT_TRUE(reactor.ok()) << reactor.status();
  auto mailbox = std::make_unique<Mailbox>(**reactor);
  const auto held = std::make_shared<int>(0);
  mailbox->post([held] { ++*held; });
  mailbox.reset();
  EXPECT_EQ(held.use_count(), 1);
  (*reactor)->poll();
  EXPECT_EQ(*held, 0);
}

// A message to a worker whose loop has ended; the worker is destroyed before its reactor.
TEST(Mailbox, EndsBeforeAReactorWhoseThreadIsGone) {
  auto reactor = Reactor::create();
  ASSERT_TRUE(reactor.ok()) << reactor.status();
  auto mailbox = std::make_unique<Mailbox>(**reactor);
  std::thread loop([&] { (*reactor)->run(); });
  (*reactor)->stop();
  loop.join();
  const auto held = std::make_shared<int>(0);
  mailbox->post([held] { ++*held; });
  mailbox.reset();
  EXPECT_EQ(held.use_count(), 1);
  reactor->reset();
  EXPECT_EQ(*held, 0);
}

TEST(Mailbox, DiscardedCallsMayPostOthers) {
  auto reactor = Reactor::create();
  ASSERT_TRUE(reactor.ok()) << reactor.status();
  Mailbox mailbox(**reactor);
  const auto posts_at_its_end = [&mailbox](std::function<void()> call) {
    return std::shared_ptr<void>(nullptr,
                                 [&mailbox, call](void*) { mailbox.post(std::move(call)); });
  };
  mailbox.post([held = posts_at_its_end([] {})] {});
  EXPECT_TRUE(mailbox.discard());
  EXPECT_TRUE(mailbox.discard()) << "the other one";
  EXPECT_FALSE(mailbox.discard());
  mailbox.post([held = posts_at_its_end([] {})] {});
}

}  // namespace
}  // namespace mrpool::engine
