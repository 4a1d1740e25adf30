#include "examples/base/job_thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace mrpool::base {
namespace {

TEST(JobThread, RunsJobsInOrderOnAnotherThread) {
  std::vector<int> order;
  std::thread::id by;
  {
    JobThread jobs(JobThread::AtEnd::kRunJobs);
    for (int i = 0; i < 100; ++i) jobs.run([&, i] { order.push_back(i); });
    jobs.run([&] { by = std::this_thread::get_id(); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[size_t(i)], i);
  EXPECT_NE(by, std::this_thread::get_id());
}

TEST(JobThread, DropsJobsThatHaveNotBegun) {
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> dropped = held;
  std::promise<void> begun;
  bool ran = false;
  {
    JobThread jobs(JobThread::AtEnd::kDropJobs);
    jobs.run([&] {
      begun.set_value();
      // Under way until the other is dropped: a minute is a failure.
      for (int i = 0; i < 60'000 && !dropped.expired(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    jobs.run([&ran, held = std::move(held)] { ran = true; });
    begun.get_future().wait();
  }
  EXPECT_FALSE(ran);
}

TEST(JobThread, EndsWithoutAJob) { JobThread jobs(JobThread::AtEnd::kRunJobs); }

}  // namespace
}  // namespace mrpool::base
