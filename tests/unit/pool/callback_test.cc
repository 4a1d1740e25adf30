#include "mrpool/callback.h"

#include <gtest/gtest.h>

#include <memory>

#include "mrpool/reactor.h"
#include "mrpool/rw.h"
#include "mrpool/work.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

struct Owner {
  explicit Owner(Reactor& home) : ready(*this, home) {}

  void sent_message(const WorkCompletion& wc) { status = wc.status; }
  void count() { ++counted; }
  void keep(MrPool::Lease given) { lease = std::move(given); }
  void transferred(WcStatus result) noexcept { status = result; }

  WcStatus status = WcStatus::kSuccess;
  int counted = 0;
  MrPool::Lease lease;
  Bound<Completion, &Owner::sent_message> sent{*this};
  Bound<Completion, &Owner::count> silent{*this};
  Bound<Task, &Owner::count> task{*this};
  Bound<Timer, &Owner::count> timer{*this};
  Bound<RwOperation, &Owner::transferred> operation{*this};
  Bound<MrPool::Waiter, &Owner::keep> ready;
};

TEST(Bound, CallsItsOwner) {
  testing::FakeReactor reactor;
  Owner owner(reactor);
  Completion& completion = owner.sent;
  completion.done({.status = WcStatus::kRemoteAccess});
  EXPECT_EQ(owner.status, WcStatus::kRemoteAccess);
  owner.task.run(owner.task);
  owner.timer.expire();
  EXPECT_EQ(owner.counted, 2);
  EXPECT_EQ(&owner.task.owner(), &owner);
}

TEST(Bound, LeavesArgumentsOutThatTheMethodDoesNotTake) {
  testing::FakeReactor reactor;
  Owner owner(reactor);
  owner.silent.done({});
  EXPECT_EQ(owner.counted, 1);
}

TEST(Bound, ForwardsArgumentsThatOnlyMove) {
  testing::FakePd pd;
  testing::FakeReactor reactor;
  auto pool = MrPool::create(pd, {.count = 1}).value();
  Owner owner(reactor);
  pool->get(owner.ready);
  reactor.poll();
  EXPECT_TRUE(owner.lease);
  owner.lease.reset();
}

TEST(Bound, CostsOneReference) {
  EXPECT_EQ(sizeof(Bound<Completion, &Owner::count>), sizeof(Completion) + sizeof(void*));
}

// The function that the inherited constructor takes has the base class as its argument.
struct Grant : Task {
  using Task::Task;
  uint64_t blocks = 0;
};

struct Waiting {
  void granted() { ++grants; }
  int grants = 0;
  Bound<Grant, &Waiting::granted> grant{*this};
};

TEST(Bound, AcceptsAnInheritedConstructor) {
  Waiting waiting;
  Task& task = waiting.grant;
  task.run(task);
  EXPECT_EQ(waiting.grants, 1);
}

struct Receive : Completion {
  Receive() : Completion(to_method<&Receive::received>) {}
  void received(const WorkCompletion& wc) { bytes = wc.byte_len; }
  uint32_t bytes = 0;
};

TEST(ToMethod, CallsTheDerivedObject) {
  Receive receive;
  Completion& completion = receive;
  completion.done({.byte_len = 7});
  EXPECT_EQ(receive.bytes, 7u);
}

}  // namespace
}  // namespace mrpool
