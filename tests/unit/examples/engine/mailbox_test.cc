// Calls from several threads to one loop: each runs once, those of a thread in its order, and run()
// returns after its call has run. The thread sanitizer watches.
#include "examples/engine/mailbox.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mrpool::engine
