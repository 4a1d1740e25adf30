#include "mrpool/asio.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/random_access_file.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>
#include <vector>

namespace mrpool {
namespace {

using boost::asio::use_awaitable;
using std::chrono::milliseconds;
using testing::ElementsAre;

std::unique_ptr<Reactor> make_reactor() {
  auto reactor = Reactor::create({.spin = Nanoseconds::zero()});
  EXPECT_TRUE(reactor.ok()) << reactor.status();
  return std::move(*reactor);
}

struct CallTask : Task {
  CallTask(void (*call)(void*), void* argument)
      : Task(to_method<&CallTask::make_call>), call(call), argument(argument) {}
  void make_call() { call(argument); }
  void (*call)(void*);
  void* argument;
};

TEST(IoContext, RunsCoroutinesAndTimersOnTheReactor) {
  auto reactor = make_reactor();
  bool inside = false;
  boost::asio::co_spawn(
      io_context(*reactor),
      [&]() -> boost::asio::awaitable<void> {
        boost::asio::steady_timer timer(io_context(*reactor), milliseconds(1));
        co_await timer.async_wait(use_awaitable);
        inside = reactor->in_thread();
        reactor->stop();
      },
      boost::asio::detached);
  std::thread([&] { reactor->run(); }).join();
  EXPECT_TRUE(inside);
}

TEST(IoContext, PostFromAnotherThreadWakesRun) {
  auto reactor = make_reactor();
  std::thread loop([&] { reactor->run(); });
  std::this_thread::sleep_for(milliseconds(5));  // asleep by now, most likely
  boost::asio::post(io_context(*reactor), [&] { reactor->stop(); });
  loop.join();
}

TEST(IoContext, FilesAreThere) {
  auto reactor = make_reactor();
  char path[] = "/tmp/mrpool_asio_test_XXXXXX";
  const int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  ::unlink(path);
  ASSERT_EQ(::write(fd, "0123456789", 10), 10);
  boost::asio::random_access_file file(io_context(*reactor), fd);
  std::array<char, 4> bytes{};
  boost::system::error_code result = boost::asio::error::would_block;
  file.async_read_some_at(3, boost::asio::buffer(bytes), [&](boost::system::error_code ec, size_t) {
    result = ec;
    reactor->stop();
  });
  reactor->run();
  EXPECT_FALSE(result) << result.message();
  EXPECT_EQ(std::string(bytes.data(), 4), "3456");
}

TEST(AsioDriver, RunsTheReactorInsideAnotherLoop) {
  auto reactor = make_reactor();
  boost::asio::io_context io(1);
  auto guard = boost::asio::make_work_guard(io);
  AsioDriver driver(*reactor, io, Nanoseconds::zero());
  struct Shared {
    boost::asio::io_context& io;
    std::thread::id ran_on;
    int ran = 0;
  } shared{io, {}, 0};
  CallTask task(
      [](void* argument) {
        auto& s = *static_cast<Shared*>(argument);
        s.ran_on = std::this_thread::get_id();
        if (++s.ran == 2) s.io.stop();
      },
      &shared);
  std::thread loop([&] { io.run(); });
  const std::thread::id loop_id = loop.get_id();
  std::this_thread::sleep_for(milliseconds(5));  // the reactor sleeps in its descriptor
  reactor->post(task);
  std::this_thread::sleep_for(milliseconds(5));
  CallTask second(task.call, &shared);
  reactor->post(second);
  loop.join();
  EXPECT_EQ(shared.ran, 2);
  EXPECT_EQ(shared.ran_on, loop_id);
}

TEST(AsioDriver, TimersArmedBetweenRoundsExpire) {
  auto reactor = make_reactor();
  boost::asio::io_context io(1);
  auto guard = boost::asio::make_work_guard(io);
  AsioDriver driver(*reactor, io, Nanoseconds::zero());
  struct StopIo : Timer {
    explicit StopIo(boost::asio::io_context& io) : Timer(to_method<&StopIo::stop>), io(io) {}
    void stop() { io.stop(); }
    boost::asio::io_context& io;
  } timer(io);
  boost::asio::steady_timer later(io, milliseconds(5));
  // By now the reactor is armed: the delay has to reach the descriptor that wakes it.
  later.async_wait([&](boost::system::error_code) { timer.arm(*reactor, milliseconds(1)); });
  io.run();
  EXPECT_FALSE(timer.armed());
}

TEST(AsioDriver, LeavesTheReactorAsItIs) {
  auto reactor = make_reactor();
  boost::asio::io_context io(1);
  {
    AsioDriver driver(*reactor, io, Nanoseconds::zero());
    for (int i = 0; i < 5; ++i) io.poll();
  }
  io.restart();
  io.poll();  // the driver's last handler
  reactor->stop();
  reactor->run();
  EXPECT_GE(reactor->fd(), 0);
}

// A coroutine that yields in a loop has a turn like everybody else, not all of them.
TEST(IoContext, AHandlerThatPostsItselfLeavesRoomForOthers) {
  auto reactor = make_reactor();
  struct Countdown final : Poller {
    bool poll() override {
      if (++polls == 3) reactor->stop();
      return true;
    }
    bool arm() override { return true; }
    Reactor* reactor = nullptr;
    int polls = 0;
  } poller;
  poller.reactor = reactor.get();
  reactor->add_poller(poller);
  bool ended = false;
  size_t yields = 0;
  boost::asio::co_spawn(
      io_context(*reactor),
      [&]() -> boost::asio::awaitable<void> {
        // The bound is this test's end where the loop is unfair.
        while (poller.polls < 3 && ++yields < 1'000'000) {
          co_await boost::asio::post(io_context(*reactor), use_awaitable);
        }
        ended = true;
      },
      boost::asio::detached);
  reactor->run();
  while (!ended) reactor->poll();
  EXPECT_LT(yields, 1'000'000u) << "the poller had to wait for the handler's end";
  reactor->remove_poller(poller);
}

TEST(AsioListener, CloseEndsTheAcceptingLoop) {
  auto reactor = make_reactor();
  const Address address = *Address::parse("uiwarp://127.0.0.1:0");
  const std::shared_ptr<Device> device = *Device::open(address);
  AsioListener listener(*reactor);
  ASSERT_TRUE(listener.listen(*device, address).ok());
  int ended = 0;
  const auto accept = [&]() -> boost::asio::awaitable<void> {
    EXPECT_EQ(co_await listener.async_accept(), nullptr);
    ++ended;
  };
  boost::asio::co_spawn(io_context(*reactor), accept, boost::asio::detached);
  reactor->poll();
  EXPECT_EQ(ended, 0);
  listener.close();
  EXPECT_EQ(ended, 1);
  boost::asio::co_spawn(io_context(*reactor), accept, boost::asio::detached);  // and afterwards
  for (int i = 0; i < 1000 && ended < 2; ++i) {
    reactor->poll();
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(ended, 2);
}

// Accepts posts and completes them on request.
class FakeQp final : public Qp {
 public:
  explicit FakeQp(Reactor& reactor) : reactor_(reactor) {}
  PostResult post_send(const WorkRequest& chain) override {
    for (const WorkRequest* wr = &chain; wr != nullptr; wr = wr->next) {
      if (refuse_from == opcodes.size()) return {PostStatus::kBadSge, wr};
      opcodes.push_back(wr->opcode);
      if (wr->signalled) completions.push_back(wr->completion);
    }
    return {};
  }
  PostStatus post_recv(const RecvRequest& chain) override {
    completions.push_back(chain.completion);
    return PostStatus::kOk;
  }
  void disconnect() override {}
  void abort() override {}
  bool connected() const override { return true; }
  Pd& pd() override { std::abort(); }
  Reactor& reactor() override { return reactor_; }
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override { return UINT32_MAX; }
  uint16_t ord() const override { return 0; }
  size_t memory_bytes() const override { return sizeof *this; }

  std::vector<Opcode> opcodes;
  std::vector<Completion*> completions;
  size_t refuse_from = SIZE_MAX;

 private:
  Reactor& reactor_;
  QpOptions options_;
};

TEST(AsyncPost, WaitsForTheLastOfTheChain) {
  auto reactor = make_reactor();
  FakeQp qp(*reactor);
  WorkRequest send{.opcode = Opcode::kSend};
  WorkRequest write{.next = &send, .opcode = Opcode::kRdmaWrite, .signalled = false};
  WcStatus status = WcStatus::kFlushed;
  boost::asio::co_spawn(
      io_context(*reactor),
      [&]() -> boost::asio::awaitable<void> {
        const auto [posted, wc] = co_await async_post(qp, write, use_awaitable);
        EXPECT_TRUE(posted.ok());
        status = wc.status;
      },
      boost::asio::detached);
  while (qp.completions.empty()) reactor->poll();
  EXPECT_THAT(qp.opcodes, ElementsAre(Opcode::kRdmaWrite, Opcode::kSend));
  ASSERT_EQ(qp.completions.size(), 1u);
  EXPECT_EQ(status, WcStatus::kFlushed);
  qp.completions[0]->done({.status = WcStatus::kRemoteAccess});
  EXPECT_EQ(status, WcStatus::kRemoteAccess);  // on the spot: the loop's own executor
}

TEST(AsyncPost, RefusalComesThroughTheLoop) {
  auto reactor = make_reactor();
  FakeQp qp(*reactor);
  qp.refuse_from = 0;
  WorkRequest send;
  bool called = false;
  async_post(qp, send, [&](PostResult posted, const WorkCompletion&) {
    called = true;
    EXPECT_EQ(posted.status, PostStatus::kBadSge);
    EXPECT_EQ(posted.refused, &send);
  });
  EXPECT_FALSE(called);
  while (!called) reactor->poll();
}

TEST(AsyncPost, AHandlerWithAnExecutorOfItsOwnRunsThere) {
  auto reactor = make_reactor();
  boost::asio::io_context other;
  FakeQp qp(*reactor);
  WorkRequest send;
  bool called = false;
  async_post(qp, send, boost::asio::bind_executor(other, [&](PostResult, const WorkCompletion&) {
               called = true;
             }));
  qp.completions.at(0)->done({});
  EXPECT_FALSE(called);
  other.run();  // and the operation counted as its work until then
  EXPECT_TRUE(called);
}

TEST(AsyncReceive, HandsOverTheMessage) {
  auto reactor = make_reactor();
  FakeQp qp(*reactor);
  std::array<std::byte, 8> buffer;
  const Sge sge{buffer.data(), buffer.size(), Lkey{1}};
  uint32_t length = 0;
  async_receive(qp, {&sge, 1}, [&](PostStatus posted, const WorkCompletion& wc) {
    EXPECT_EQ(posted, PostStatus::kOk);
    length = wc.byte_len;
  });
  qp.completions.at(0)->done({.opcode = Opcode::kRecv, .byte_len = 5});
  EXPECT_EQ(length, 5u);
}

}  // namespace
}  // namespace mrpool
