// The C interface without a connection: errors and their texts, structs with sizes, reactors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "mrpool.h"

namespace {

using testing::HasSubstr;

struct Setup : testing::Test {
  Setup() {
    EXPECT_EQ(mrpool_reactor_create(nullptr, &reactor), 0) << mrpool_error();
    EXPECT_EQ(mrpool_device_open("uiwarp://127.0.0.1", &device), 0) << mrpool_error();
    EXPECT_EQ(mrpool_pd_alloc(device, &pd), 0) << mrpool_error();
  }
  ~Setup() override {
    mrpool_pd_dealloc(pd);
    mrpool_device_close(device);
    mrpool_reactor_destroy(reactor);
  }
  mrpool_reactor* reactor = nullptr;
  mrpool_device* device = nullptr;
  mrpool_pd* pd = nullptr;
};

TEST(Version, IsTheHeaders) {
  EXPECT_EQ(mrpool_version(), uint32_t{MRPOOL_VERSION});
  EXPECT_STREQ(mrpool_version_string(), MRPOOL_VERSION_STRING);
}

TEST(AccessFlags, HaveTheKernelsPolarityAndTurnForVerbs) {
  constexpr uint32_t kIbvRelaxedOrdering = 1u << 20;
  EXPECT_EQ(mrpool_access_to_ibv(MRPOOL_ACCESS_LOCAL_WRITE), 1u | kIbvRelaxedOrdering);
  EXPECT_EQ(mrpool_access_from_ibv(1u), 1u | MRPOOL_ACCESS_DISABLE_RELAXED_ORDERING);
  EXPECT_EQ(mrpool_access_from_ibv(mrpool_access_to_ibv(7)), 7u);
}

TEST_F(Setup, AnErrorHasACodeAndATextOfItsThread) {
  mrpool_device* none = nullptr;
  EXPECT_EQ(mrpool_device_open("carrier-pigeon://x", &none), -EINVAL);
  EXPECT_THAT(mrpool_error(), HasSubstr("carrier-pigeon"));
  EXPECT_EQ(mrpool_device_open("127.0.0.1", &none), -EINVAL);
  EXPECT_EQ(none, nullptr);
  std::thread([] { EXPECT_STREQ(mrpool_error(), ""); }).join();
}

TEST_F(Setup, ARequiredArgumentThatIsNullIsNamed) {
  mrpool_cq* cq = nullptr;
  mrpool_mr* mr = nullptr;
  mrpool_mr_pool* pool = nullptr;
  mrpool_device_attr attr{};
  EXPECT_EQ(mrpool_device_open(nullptr, &device), -EINVAL);
  EXPECT_EQ(mrpool_reactor_create(nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_pd_alloc(nullptr, &pd), -EINVAL);
  EXPECT_EQ(mrpool_cq_create(device, nullptr, 1, &cq), -EINVAL);
  EXPECT_EQ(mrpool_reg_mr(nullptr, &attr, 1, 0, &mr), -EINVAL);
  EXPECT_EQ(mrpool_mr_pool_init(pd, nullptr, &pool), -EINVAL);
  EXPECT_THAT(mrpool_error(), HasSubstr("attr is NULL"));
  EXPECT_EQ(mrpool_mr_pool_query(nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_device_query(nullptr, &attr), -EINVAL);
  EXPECT_EQ(mrpool_device_query(device, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_device_reload_tls(nullptr), -EINVAL);
  EXPECT_EQ(mrpool_device_reload_tls(device), 0) << "a device without TLS has nothing to read";
  EXPECT_EQ(mrpool_rw_query_needs(nullptr, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_rw_create(nullptr, nullptr, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_connect(device, "uiwarp://x", pd, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_accept(nullptr, pd, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_reject(nullptr, nullptr, 0), -EINVAL);
  EXPECT_EQ(mrpool_listen(device, reactor, "uiwarp://127.0.0.1", nullptr, nullptr, nullptr),
            -EINVAL);
  mrpool_listener* listener = nullptr;
  const mrpool_listen_events deaf{sizeof deaf, nullptr, nullptr};
  EXPECT_EQ(mrpool_listen(device, reactor, "uiwarp://127.0.0.1", &deaf, nullptr, &listener),
            -EINVAL);
  EXPECT_THAT(mrpool_error(), HasSubstr("connect_request"));
}

TEST(Nothing, IsDestroyedWithoutHarm) {
  mrpool_reactor_destroy(nullptr);
  mrpool_device_close(nullptr);
  mrpool_pd_dealloc(nullptr);
  mrpool_dereg_mr(nullptr);
  mrpool_cq_destroy(nullptr);
  mrpool_qp_destroy(nullptr);
  mrpool_listener_destroy(nullptr);
  mrpool_mr_pool_destroy(nullptr);
  mrpool_mr_pool_put(nullptr);
  mrpool_rw_destroy(nullptr);
  mrpool_rw_ctx_destroy(nullptr);
}

// A struct of a later version: larger, with room for what this library does not know.
struct Later {
  mrpool_mr_pool_attr known{};
  uint64_t news = 0;
};

TEST_F(Setup, AStructOfAnotherVersionIsReadAsFarAsBothKnowIt) {
  mrpool_mr_pool* pool = nullptr;
  Later later;
  later.known.size = sizeof later;
  later.known.count = 1;
  ASSERT_EQ(mrpool_mr_pool_init(pd, &later.known, &pool), 0) << mrpool_error();
  mrpool_mr_pool_destroy(pool);
  later.news = 1;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &later.known, &pool), -E2BIG);
  EXPECT_THAT(mrpool_error(), HasSubstr("later version"));
  // An earlier version, which ended after `count`.
  later.known.size = offsetof(mrpool_mr_pool_attr, type);
  later.known.type = 77;
  ASSERT_EQ(mrpool_mr_pool_init(pd, &later.known, &pool), 0) << mrpool_error();
  // What the library fills in stops where the program's struct does.
  mrpool_mr_pool_stats stats{};
  stats.size = offsetof(mrpool_mr_pool_stats, in_use);
  stats.in_use = 4711;
  ASSERT_EQ(mrpool_mr_pool_query(pool, &stats), 0) << mrpool_error();
  EXPECT_EQ(stats.mrs, 1u);
  EXPECT_EQ(stats.in_use, 4711u);
  mrpool_mr_pool_destroy(pool);
  later.known.size = 0;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &later.known, &pool), -EINVAL);
  EXPECT_THAT(mrpool_error(), HasSubstr("sizeof"));
  mrpool_device_attr unset{};
  unset.size = SIZE_MAX;  // as memory that was never written may have it
  EXPECT_EQ(mrpool_device_query(device, &unset), -E2BIG);
  EXPECT_THAT(mrpool_error(), HasSubstr("sizeof"));
  mrpool_device_attr unsized{};
  EXPECT_EQ(mrpool_device_query(device, &unsized), -EINVAL);
  EXPECT_THAT(mrpool_error(), HasSubstr("size"));
}

TEST_F(Setup, LimitsAreErrorsWithTheirNumbers) {
  mrpool_cq* cq = nullptr;
  EXPECT_LT(mrpool_cq_create(device, reactor, UINT32_MAX, &cq), 0);
  mrpool_mr_pool* pool = nullptr;
  mrpool_mr_pool_attr attr{};
  attr.size = sizeof attr;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), -EINVAL) << "a pool of nothing";
  attr.count = 1;
  attr.type = 9;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), -EINVAL);
  attr.type = MRPOOL_POOL_FAST_REG;
  attr.at_least = 9;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), -EINVAL);
  attr.at_least = MRPOOL_FAST_REG;
  attr.access = MRPOOL_ACCESS_REMOTE_WRITE;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), -EINVAL) << "remote write without local write";
  attr.access = 0;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), 0) << mrpool_error();
  mrpool_mr_pool_destroy(pool);
}

TEST_F(Setup, RegistrationsCarryWhatWasGranted) {
  char memory[64];
  mrpool_mr* mr = nullptr;
  EXPECT_EQ(mrpool_reg_mr(pd, memory, sizeof memory, MRPOOL_ACCESS_REMOTE_WRITE, &mr), -EINVAL);
  EXPECT_EQ(mrpool_reg_mr(pd, nullptr, 64, 0, &mr), -EINVAL);
  const uint32_t asked = MRPOOL_ACCESS_LOCAL_WRITE | (1u << 29);
  ASSERT_EQ(mrpool_reg_mr(pd, memory, sizeof memory, asked, &mr), 0) << mrpool_error();
  const mrpool_granted granted = mrpool_mr_granted(mr);
  EXPECT_EQ(granted.requested, asked);
  EXPECT_EQ(granted.requested, granted.effective | granted.ignored | granted.unknown);
  EXPECT_EQ(granted.ignored, 1u << 29);
  EXPECT_NE(mrpool_mr_lkey(mr), 0u);
  EXPECT_EQ(mrpool_mr_rkey(mr), mrpool_mr_lkey(mr)) << "a STag";
  EXPECT_EQ(mrpool_mr_remote_addr(mr), reinterpret_cast<uintptr_t>(memory));
  mrpool_dereg_mr(mr);
}

TEST_F(Setup, ADeviceDescribesItself) {
  mrpool_device_attr attr{};
  attr.size = sizeof attr;
  ASSERT_EQ(mrpool_device_query(device, &attr), 0) << mrpool_error();
  EXPECT_STREQ(attr.name, "uiwarp");
  EXPECT_EQ(attr.registration, uint32_t{MRPOOL_FAST_REG});
  EXPECT_EQ(attr.iwarp, 1);
  EXPECT_GT(attr.max_qp_wr, 0u);
  EXPECT_GT(attr.max_connect_data, 0u);
  EXPECT_TRUE(attr.known_access & MRPOOL_ACCESS_REMOTE_READ);
  EXPECT_EQ(mrpool_base_access(device, 7), uint32_t{MRPOOL_ACCESS_LOCAL_WRITE});
  std::vector<std::string> names;
  mrpool_device_statistics(
      device,
      [](void* context, const char* name, uint64_t) {
        static_cast<std::vector<std::string>*>(context)->push_back(name);
      },
      &names);
  EXPECT_GT(names.size(), 10u);
  mrpool_rw_needs needs{};
  needs.size = sizeof needs;
  ASSERT_EQ(mrpool_rw_query_needs(device, nullptr, &needs), 0) << mrpool_error();
  EXPECT_GT(needs.send_wr, 0u);
  EXPECT_TRUE(needs.pool_access & MRPOOL_ACCESS_REMOTE_WRITE) << "a READ's sink on iWARP";
}

struct Ran : mrpool_task {
  Ran() : mrpool_task{[](mrpool_task* task) { ++static_cast<Ran*>(task)->times; }, {}} {}
  int times = 0;
};

TEST_F(Setup, AReactorFitsIntoAForeignLoop) {
  Ran task;
  while (mrpool_reactor_poll(reactor) > 0) continue;
  ASSERT_EQ(mrpool_reactor_arm(reactor), 1);
  pollfd watched{mrpool_reactor_fd(reactor), POLLIN, 0};
  EXPECT_EQ(poll(&watched, 1, 0), 0);
  std::thread([&] { mrpool_task_post(reactor, &task); }).join();
  EXPECT_EQ(poll(&watched, 1, 60000), 1);
  EXPECT_GT(mrpool_reactor_poll(reactor), 0u);
  EXPECT_EQ(task.times, 1);
  mrpool_task_post(reactor, &task);
  while (task.times < 2) mrpool_reactor_poll(reactor);
}

struct Rang : mrpool_timer {
  Rang() : mrpool_timer{[](mrpool_timer* timer) { static_cast<Rang*>(timer)->ring(); }, {}} {}
  void ring() {
    ++times;
    mrpool_reactor_stop(reactor);
  }
  mrpool_reactor* reactor = nullptr;
  int times = 0;
};

TEST_F(Setup, TimersExpireOnceUnlessTheyAreCancelled) {
  Rang timer, never;
  timer.reactor = never.reactor = reactor;
  mrpool_timer_arm(reactor, &never, UINT64_MAX);
  const uint64_t before = mrpool_reactor_now(reactor);
  mrpool_timer_arm(reactor, &timer, 1000000);
  mrpool_reactor_run(reactor);
  EXPECT_EQ(timer.times, 1);
  EXPECT_GE(mrpool_reactor_now(reactor), before + 1000000);
  mrpool_timer_cancel(&never);
  mrpool_timer_arm(reactor, &timer, 0);
  mrpool_reactor_run(reactor);
  EXPECT_EQ(timer.times, 2);
  EXPECT_EQ(never.times, 0);
}

TEST(Reactors, TakeTheirOptions) {
  mrpool_reactor* reactor = nullptr;
  mrpool_reactor_attr attr{sizeof attr, UINT64_MAX};
  ASSERT_EQ(mrpool_reactor_create(&attr, &reactor), 0) << mrpool_error();
  mrpool_reactor_stop(reactor);
  mrpool_reactor_run(reactor);
  mrpool_reactor_destroy(reactor);
  attr.size = 3;
  EXPECT_EQ(mrpool_reactor_create(&attr, &reactor), -EINVAL);
}

TEST(Statuses, HaveNames) {
  EXPECT_STREQ(mrpool_wc_status_str(MRPOOL_WC_SUCCESS), "success");
  EXPECT_STREQ(mrpool_wc_status_str(MRPOOL_WC_WR_FLUSH_ERR), "flushed");
  EXPECT_STREQ(mrpool_wc_status_str(-1), "unknown");
  EXPECT_STREQ(mrpool_wc_status_str(99), "unknown");
}

TEST(LogDeathTest, AMisuseIsReportedAndAborts) {
  EXPECT_DEATH(
      {
        mrpool_set_log_sink(
            [](void*, mrpool_log_level, const char* line, size_t length) {
              fprintf(stderr, "C heard: %.*s\n", int(length), line);
            },
            nullptr);
        mrpool_mr_needs_reg(nullptr);
      },
      "C heard: .*lease");
}

}  // namespace
