// The runner of a gateway, on a cluster in memory that answers from the loop.
#include "examples/gateway/daemon/runner.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "examples/gateway/daemon/show.h"

namespace mrpool::gateway {
namespace {

namespace asio = boost::asio;

struct Store {
  Records records;
  std::vector<std::string> fenced;
  int clients = 0;
  bool answers = true;
};

class MemoryCluster final : public Cluster {
 public:
  MemoryCluster(asio::io_context& loop, Store& store,
                std::function<void(const absl::Status&)> failed)
      : loop_(loop), store_(store), failed_(std::move(failed)) {}

  void read(std::function<void(std::optional<Records>)> done) override {
    asio::post(loop_, [this, done] {
      if (store_.answers) return done(store_.records);
      failed_(absl::DeadlineExceededError("the cluster does not answer"));
      done(std::nullopt);
    });
  }
  void write(GuardedWrite write, std::function<void(Written)> done) override {
    asio::post(loop_, [this, write, done] {
      if (!store_.answers) return done(Written::kUnknown);
      for (const Entry& guard : write.guards) {
        if (text_of(store_.records, guard.key) != guard.text) return done(Written::kRefused);
      }
      for (const Entry& entry : write.sets) store_.records[entry.key] = entry.text;
      done(Written::kDone);
    });
  }
  void connect(std::string_view group, std::function<void(std::string)> done) override {
    const std::string client = std::string(group) + "/" + std::to_string(++store_.clients);
    asio::post(loop_, [done, client] { done(client); });
  }
  void fence(std::string_view, std::vector<std::string> clients,
             std::function<void(bool)> done) override {
    store_.fenced.insert(store_.fenced.end(), clients.begin(), clients.end());
    asio::post(loop_, [done] { done(true); });
  }

 private:
  asio::io_context& loop_;
  Store& store_;
  const std::function<void(const absl::Status&)> failed_;
};

class Service final : public Served {
 public:
  explicit Service(asio::io_context& loop) : loop_(loop) {}
  void client_changed(std::string_view) override { ++clients; }
  void prepare(std::string_view, Done done) override {
    asio::post(loop_, [done] { done(true); });
  }
  void serve(std::string_view) override { serves = true; }
  void stop(std::string_view) override { serves = false; }
  void drain(std::string_view, Done done) override {
    serves = false;
    asio::post(loop_, [done] { done(true); });
  }
  bool fenced(std::string_view) override { return std::exchange(finds_fence, false); }

  bool serves = false;
  bool finds_fence = false;
  int clients = 0;

 private:
  asio::io_context& loop_;
};

class RunnerTest : public testing::Test {
 protected:
  struct Gateway {
    Gateway(asio::io_context& loop, Store& store, std::string name)
        : service(loop),
          runner(loop,
                 [&](auto failed) { return std::make_unique<MemoryCluster>(loop, store, failed); },
                 service,
                 {.name = std::move(name),
                  .groups = {"1"},
                  .times = times(),
                  .group_word = "ANA group"}) {
      runner.start();
    }
    static Times times() {
      Times times;
      times.lease = std::chrono::milliseconds(200);
      times.renew = times.poll = std::chrono::milliseconds(20);
      times.settle = std::chrono::milliseconds(50);
      times.retry = std::chrono::milliseconds(20);
      return times;
    }
    GroupStatus group() const { return runner.status().groups.at(0); }
    Service service;
    Runner runner;
  };
  template <typename Condition>
  bool eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      loop_.restart();
      loop_.run_for(std::chrono::milliseconds(5));
    }
    return condition();
  }

  asio::io_context loop_;
  Store store_;
};

TEST_F(RunnerTest, TakesAGroupAndShowsIt) {
  Gateway a(loop_, store_, "a");
  EXPECT_FALSE(a.runner.guard("1"));
  EXPECT_EQ(a.group().state, State::kOut);
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  EXPECT_TRUE(a.runner.guard("1"));
  const auto shown = to_json(a.runner.status());
  EXPECT_EQ(shown.at("name").as_string(), "a");
  EXPECT_EQ(shown.at("groups").as_array()[0].at("owner").as_string(), "a");
  EXPECT_EQ(a.group().takeovers, 1u);
  metrics::Snapshot snapshot;
  observe(a.runner.status(), snapshot);
  EXPECT_TRUE(snapshot.gateway->groups[0].serves);
  EXPECT_EQ(snapshot.gateway->members, 1u);
}

TEST_F(RunnerTest, AnotherOneFencesAndTakesOver) {
  auto a = std::make_unique<Gateway>(loop_, store_, "a");
  ASSERT_TRUE(eventually([&] { return a->service.serves; }));
  const std::string client = parse_owner(text_of(store_.records, owner_key("1")))->client;
  a.reset();  // as if it had been killed
  Gateway b(loop_, store_, "b");
  ASSERT_TRUE(eventually([&] { return b.service.serves; }));
  EXPECT_EQ(store_.fenced, std::vector{client});
  EXPECT_EQ(b.group().fences, 1u);
  EXPECT_GT(b.group().term, 1u);
}

TEST_F(RunnerTest, AClusterThatDoesNotAnswerEndsTheService) {
  Gateway a(loop_, store_, "a");
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  store_.answers = false;
  ASSERT_TRUE(eventually([&] { return !a.service.serves; }));
  EXPECT_EQ(a.group().losses, 1u);
  EXPECT_FALSE(a.runner.status().failure.empty());
  store_.answers = true;
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  ASSERT_TRUE(eventually([&] { return a.runner.status().failure.empty(); }));
}

TEST_F(RunnerTest, AFenceOrARefusedSaveIsALoss) {
  Gateway a(loop_, store_, "a");
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  a.service.finds_fence = true;
  ASSERT_TRUE(eventually([&] { return a.group().losses == 1; }));
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  EXPECT_GE(a.service.clients, 2) << "with a new client";
  a.runner.refused("1");
  ASSERT_TRUE(eventually([&] { return a.group().losses == 2; }));
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
}

TEST_F(RunnerTest, LeavesWithoutAFence) {
  Gateway a(loop_, store_, "a");
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  bool left = false;
  a.runner.leave([&] { left = true; });
  ASSERT_TRUE(eventually([&] { return left; }));
  EXPECT_FALSE(a.service.serves);
  EXPECT_EQ(a.group().owner, "");
  Gateway b(loop_, store_, "b");
  ASSERT_TRUE(eventually([&] { return b.service.serves; }));
  EXPECT_TRUE(store_.fenced.empty());
}

TEST_F(RunnerTest, LeavesInTimeWithoutTheCluster) {
  Gateway a(loop_, store_, "a");
  ASSERT_TRUE(eventually([&] { return a.service.serves; }));
  store_.answers = false;
  bool left = false;
  a.runner.leave([&] { left = true; });
  EXPECT_TRUE(eventually([&] { return left; }));
}

}  // namespace
}  // namespace mrpool::gateway
