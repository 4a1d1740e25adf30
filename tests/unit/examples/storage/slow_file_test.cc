// File systems that take their time, as networks and FUSE do: no reactor waits for them.
//
// Interposes the library's calls of close(), statx() and fstatfs().
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "examples/storage/storage.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

// The file whose calls hang while the gate is shut.
class SlowFile {
 public:
  void set(const std::string& path) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    device_ = info.st_dev;
    inode_ = info.st_ino;
    reactor_ = std::this_thread::get_id();
    calls_of_reactor_ = 0;
  }
  void clear() { inode_ = 0; }
  void shut(bool shut) {
    const std::lock_guard lock(mutex_);
    shut_ = shut;
    opened_.notify_all();
  }
  bool is(int fd) const {
    if (inode_ == 0) return false;
    struct stat info {};
    return ::fstat(fd, &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
  }
  // Of the slow file.
  void pass() {
    if (std::this_thread::get_id() == reactor_) {
      ++calls_of_reactor_;
      return;
    }
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return !shut_; });
  }
  int calls_of_reactor() const { return calls_of_reactor_; }

 private:
  std::atomic<dev_t> device_{0};
  std::atomic<ino_t> inode_{0};
  std::thread::id reactor_;
  std::atomic<int> calls_of_reactor_{0};
  std::mutex mutex_;
  std::condition_variable opened_;
  bool shut_ = false;
};
SlowFile& slow() {
  static SlowFile& file = *new SlowFile;
  return file;
}

}  // namespace
}  // namespace mrpool::storage

extern "C" {
int close(int fd) {
  if (mrpool::storage::slow().is(fd)) mrpool::storage::slow().pass();
  // Not the system call, because ThreadSanitizer must see the close; otherwise it confuses the next
  // file with that descriptor with this one.
  static const auto next = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "close"));
  return next(fd);
}
int statx(int fd, const char* __restrict path, int flags, unsigned mask,
          struct statx* __restrict out) noexcept {
  if (mrpool::storage::slow().is(fd)) mrpool::storage::slow().pass();
  return int(::syscall(SYS_statx, fd, path, flags, mask, out));
}
int fstatfs(int fd, struct statfs* out) noexcept {
  const int result = int(::syscall(SYS_fstatfs, fd, out));
  if (result == 0 && mrpool::storage::slow().is(fd)) out->f_type = FUSE_SUPER_MAGIC;
  return result;
}
}

namespace mrpool::storage {
namespace {

using testing::HasSubstr;

class SlowFiles : public testing::Test {
 protected:
  SlowFiles() {
    path_ = folder_.file("slow");
    EXPECT_TRUE(open("file:" + path_ + ",size=1MiB").ok());
    slow().set(path_);
    volume_ = *open("file:" + path_);
    other_ = *open("file:" + folder_.file("other") + ",size=1MiB");
    channel_ = *volume_->open_channel(*reactor_);
    other_channel_ = *other_->open_channel(*reactor_);
    before_ = slow().calls_of_reactor();
  }
  ~SlowFiles() override {
    slow().shut(false);
    channel_.reset();
    volume_.reset();
    EXPECT_TRUE(open("file:" + path_).ok()) << "its end is waited for";
    slow().clear();
  }
  int calls_of_reactor() const { return slow().calls_of_reactor() - before_; }
  bool finishes(Request& request) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!request.finished && std::chrono::steady_clock::now() < deadline) reactor_->poll();
    return request.finished;
  }

  TempDir folder_;
  std::string path_;
  int before_ = 0;
  std::unique_ptr<Reactor> reactor_ = std::move(*Reactor::create());
  std::shared_ptr<Volume> volume_, other_;
  std::unique_ptr<Channel> channel_, other_channel_;
};

TEST_F(SlowFiles, ALookThatHangsStopsNoOtherStore) {
  slow().shut(true);
  Request first(Op::kWrite, 0, 4096), second(Op::kWrite, 4096, 4096);
  first.fill(1);
  ASSERT_FALSE(channel_->submit(first));
  ASSERT_FALSE(channel_->submit(second));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Request(Op::kWrite, 4096 * i, 4096).run(*other_channel_, *reactor_), Error::kNone);
  }
  EXPECT_EQ(Request(Op::kRead, 0, 4096).run(*channel_, *reactor_), Error::kNone) << "no look";
  EXPECT_FALSE(first.finished || second.finished);
  EXPECT_EQ(channel_->pending(), 2u);
  EXPECT_GT(channel_->oldest_age(reactor_->now() + Nanoseconds(1)), Nanoseconds(0));
  slow().shut(false);
  EXPECT_TRUE(finishes(first) && finishes(second));
  EXPECT_EQ(first.error, Error::kNone);
  EXPECT_EQ(second.error, Error::kNone);
  Request read(Op::kRead, 0, 4096);
  EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
  EXPECT_EQ(read.bytes(), first.bytes());
  EXPECT_EQ(calls_of_reactor(), 0);
}

TEST_F(SlowFiles, AFileThatWasCutIsNotMadeLongerAgain) {
  ASSERT_EQ(::truncate(path_.c_str(), 512 << 10), 0);
  EXPECT_EQ(Request(Op::kWrite, 512 << 10, 4096).run(*channel_, *reactor_), Error::kOutOfRange);
  std::vector<std::unique_ptr<Request>> all;
  for (uint64_t i = 0; i < 200; ++i) {
    all.push_back(std::make_unique<Request>(Op::kWrite, (i % 256) * 4096, 4096));
    all.back()->finished = channel_->submit(*all.back());
    if (i % 16 == 0) reactor_->poll();
  }
  for (const auto& each : all) {
    ASSERT_TRUE(finishes(*each));
    EXPECT_EQ(each->error, each->offset < (512 << 10) ? Error::kNone : Error::kOutOfRange);
  }
  EXPECT_EQ(channel_->pending(), 0u);
  EXPECT_EQ(std::filesystem::file_size(path_), 512u << 10);
  EXPECT_EQ(calls_of_reactor(), 0);
}

TEST_F(SlowFiles, ClosingAFileThatHangsBlocksNothing) {
  EXPECT_EQ(Request(Op::kWrite, 0, 4096).run(*channel_, *reactor_), Error::kNone);
  slow().shut(true);
  channel_.reset();
  volume_.reset();  // returns at once
  EXPECT_EQ(Request(Op::kWrite, 0, 4096).run(*other_channel_, *reactor_), Error::kNone);
  EXPECT_THAT(why_not("file:" + path_), HasSubstr("is still in use 3 s later"));
  std::thread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    slow().shut(false);
  });
  EXPECT_EQ(why_not("file:" + path_), "");
  later.join();
}

}  // namespace
}  // namespace mrpool::storage
