// Files with and without io_uring: what a host sees is the same, and nothing ends the process.
#include "examples/storage/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "examples/base/log_thread.h"
#include "examples/storage/storage.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

// From now on the system call fails for this process with EPERM, as Docker's default profile has it
// for io_uring.
void forbid(std::vector<long> calls) {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0), 0);
}

// Runs `body` in a process of its own, which may spoil itself; what it wrote to stderr.
template <typename Body>
std::string in_child(Body body) {
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDERR_FILENO);
    dup2(out[1], STDOUT_FILENO);
    body();
    base::flush_log();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  close(out[1]);
  std::string text;
  char piece[4096];
  for (ssize_t n = 0; (n = read(out[0], piece, sizeof piece)) > 0;) text.append(piece, size_t(n));
  close(out[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << text;
  return text;
}

void write_and_read_back(Channel& channel, Reactor& reactor, uint64_t offset) {
  Request write(Op::kWrite, offset, 64 << 10, 16);
  write.fill(offset + 1);
  write.fua = true;
  EXPECT_EQ(write.run(channel, reactor), Error::kNone);
  Request read(Op::kRead, offset, 64 << 10, 4);
  EXPECT_EQ(read.run(channel, reactor), Error::kNone);
  EXPECT_EQ(read.bytes(), write.bytes());
}

size_t descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// Before the others: ThreadSanitizer takes no thread in the child of a process that has threads,
// and one of theirs may be about to end.
TEST(WithoutRing, FilesAreServedByThreads) {
  const std::string log = in_child([] {
    TempDir dir;
    forbid({__NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register});
    auto reactor = std::move(*Reactor::create());
    for (const char* options : {",size=8MiB", ",size=8MiB,direct"}) {
      const auto volume = *open("file:" + dir.file("disk") + options);
      auto channel = volume->open_channel(*reactor);
      ASSERT_TRUE(channel.ok()) << channel.status();
      write_and_read_back(**channel, *reactor, 4096);
      EXPECT_EQ(Request(Op::kFlush, 0, 0).run(**channel, *reactor), Error::kNone);
      EXPECT_EQ((*channel)->pending(), 0u);
    }
  });
  const size_t line = log.find("no io_uring: Operation not permitted");
  ASSERT_NE(line, std::string::npos) << log;
  EXPECT_EQ(log.find("no io_uring", line + 1), std::string::npos) << "said once: " << log;
}

TEST(WithoutRing, ManyThreadsOfReactorsShareTheThreadsOfAFile) {
  in_child([] {
    TempDir dir;
    forbid({__NR_io_uring_setup});
    const auto volume = *open("file:" + dir.file("disk") + ",size=8MiB");
    std::vector<std::jthread> threads;
    for (uint64_t i = 0; i < 4; ++i) {
      threads.emplace_back([&volume, i] {
        auto reactor = std::move(*Reactor::create());
        const auto channel = std::move(*volume->open_channel(*reactor));
        for (int n = 0; n < 20; ++n) write_and_read_back(*channel, *reactor, i << 20);
      });
    }
  });
}

TEST(WithoutRing, DescriptorsRunOutAndTheCommandIsServed) {
  const std::string log = in_child([] {
    TempDir dir;
    const auto volume = *open("file:" + dir.file("disk") + ",size=8MiB");
    auto reactor = std::move(*Reactor::create());
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = 3;  // all of them are in use
    setrlimit(RLIMIT_NOFILE, &limit);
    auto channel = volume->open_channel(*reactor);
    EXPECT_LT(::dup(STDERR_FILENO), 0);
    ASSERT_TRUE(channel.ok()) << channel.status();
    write_and_read_back(**channel, *reactor, 0);
    setrlimit(RLIMIT_NOFILE, &before);
  });
  EXPECT_NE(log.find("no io_uring: Too many open files (raise `ulimit -n`)"), std::string::npos)
      << log;
}

// A filter that comes while requests are served.
TEST(WithoutRing, LosingItLaterLosesNoRequest) {
  in_child([] {
    TempDir dir;
    const auto volume = *open("file:" + dir.file("disk") + ",size=8MiB");
    auto reactor = std::move(*Reactor::create());
    const auto channel = std::move(*volume->open_channel(*reactor));
    write_and_read_back(*channel, *reactor, 0);
    forbid({__NR_io_uring_enter});
    std::vector<std::unique_ptr<Request>> writes;
    for (uint64_t i = 0; i < 300; ++i) {
      writes.push_back(std::make_unique<Request>(Op::kWrite, i * 4096, 4096));
      ASSERT_FALSE(channel->submit(*writes.back()));
    }
    while (channel->pending() > 0) reactor->poll();
    for (const auto& write : writes) EXPECT_TRUE(write->finished && write->error == Error::kNone);
    write_and_read_back(*channel, *reactor, 4096);
  });
}

TEST(WithoutRing, NoThreadsEitherIsAnError) {
  in_child([] {
    TempDir dir;
    forbid({__NR_io_uring_setup, __NR_clone, __NR_clone3});
    const auto volume = open("file:" + dir.file("disk") + ",size=8MiB");
    EXPECT_TRUE(absl::IsResourceExhausted(volume.status())) << volume.status();
    EXPECT_FALSE(std::filesystem::exists(dir.file("disk")));
  });
}

TEST(Ring, IsOneForAllFilesOfAReactor) {
  TempDir dir;
  auto reactor = std::move(*Reactor::create());
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::shared_ptr<Volume>> volumes;
  const auto add = [&](int i) {
    volumes.push_back(*open("file:" + dir.file("disk" + std::to_string(i)) + ",size=1MiB"));
    channels.push_back(std::move(*volumes.back()->open_channel(*reactor)));
  };
  const size_t before = descriptors();
  add(0);
  EXPECT_LE(descriptors(), before + 3) << "the file, the ring, its event";
  constexpr int kFiles = 80;  // more than the kernel's table of registered files
  for (int i = 1; i < kFiles; ++i) add(i);
  EXPECT_LE(descriptors(), before + kFiles + 2);
  for (auto& channel : channels) write_and_read_back(*channel, *reactor, 4096);
  channels.clear();
  volumes.clear();
  // What earlier tests let go of may have been open still at the beginning.
  EXPECT_TRUE(eventually([before] { return descriptors() <= before; })) << descriptors();
}

// The reactor sleeps while the disk works; the event has to end the sleep.
TEST(Ring, WakesASleepingReactor) {
  TempDir dir;
  auto reactor = std::move(*Reactor::create({.spin = Nanoseconds{}}));
  const auto volume = *open("file:" + dir.file("disk") + ",size=16MiB,direct");
  const auto channel = std::move(*volume->open_channel(*reactor));
  struct Walk : Request {
    Walk(Channel& c, Reactor& r) : Request(Op::kWrite, 0, 4096), channel(c), reactor(r) {
      done = [](Io& self) { static_cast<Walk&>(self).next(); };
    }
    void next() {
      EXPECT_EQ(error, Error::kNone);
      offset = uint64_t(++count % 1000) * 4096;
      op = count % 2 == 0 ? Op::kRead : Op::kWrite;
      if (count == 400) return reactor.stop();
      EXPECT_FALSE(channel.submit(*this));
    }
    Channel& channel;
    Reactor& reactor;
    int count = 0;
  } walk(*channel, *reactor);
  walk.next();
  reactor->run();
  EXPECT_EQ(walk.count, 400);
}

// A session that lets go of a store when its last command ends.
TEST(Ring, EndsWithItsLastChannelInsideARequestsEnd) {
  TempDir dir;
  auto reactor = std::move(*Reactor::create());
  const auto volume = *open("file:" + dir.file("disk") + ",size=1MiB,direct");
  auto channel = std::move(*volume->open_channel(*reactor));
  struct Last : Request {
    explicit Last(std::unique_ptr<Channel>& c) : Request(Op::kWrite, 0, 4096), channel(c) {
      done = [](Io& self) {
        Last& last = static_cast<Last&>(self);
        last.channel.reset();
        last.finished = true;
      };
    }
    std::unique_ptr<Channel>& channel;
  } last(channel);
  ASSERT_FALSE(channel->submit(last));
  EXPECT_TRUE(eventually([&] { return reactor->poll(), last.finished; }));
  EXPECT_EQ(channel, nullptr);
  EXPECT_EQ(last.error, Error::kNone);
}

TEST(Ring, RequestsBeyondItsCapacityWaitInOrder) {
  TempDir dir;
  auto reactor = std::move(*Reactor::create());
  const auto volume = *open("file:" + dir.file("disk") + ",size=1MiB");
  const auto channel = std::move(*volume->open_channel(*reactor));
  std::vector<std::unique_ptr<Request>> reads;
  for (int i = 0; i < 6000; ++i) {
    reads.push_back(std::make_unique<Request>(Op::kRead, uint64_t(i % 256) * 4096, 4096));
    ASSERT_FALSE(channel->submit(*reads.back()));
  }
  EXPECT_EQ(channel->pending(), 6000u);
  EXPECT_EQ(channel->oldest_age(reads[0]->submitted + Nanoseconds(7)), Nanoseconds(7));
  while (channel->pending() > 0) reactor->poll();
  for (const auto& read : reads) EXPECT_TRUE(read->finished && read->error == Error::kNone);
}

}  // namespace
}  // namespace mrpool::storage
