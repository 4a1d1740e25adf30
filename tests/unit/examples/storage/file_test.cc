// Files: what they are, who may have them, what becomes of them while they are served.
#include "examples/storage/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "examples/storage/claim.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/saved_size.h"
#include "examples/storage/storage.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

struct Opened {
  explicit Opened(const std::string& spec) : volume(*open(spec)) {
    channel = std::move(*volume->open_channel(*reactor));
  }
  Error run(Op op, uint64_t offset, uint64_t length) {
    return Request(op, offset, length).run(*channel, *reactor);
  }
  std::unique_ptr<Reactor> reactor = std::move(*Reactor::create());
  std::shared_ptr<Volume> volume;
  std::unique_ptr<Channel> channel;
};

uint64_t size_of(const std::string& path) { return std::filesystem::file_size(path); }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(File, DataSurvivesClosing) {
  TempDir dir;
  const std::string spec = "file:" + dir.file("disk");
  std::string written;
  {
    auto reactor = std::move(*Reactor::create());
    auto volume = *open(spec + ",size=1MiB");
    auto channel = std::move(*volume->open_channel(*reactor));
    Request write(Op::kWrite, 8192, 4096);
    write.fill(77);
    EXPECT_EQ(write.run(*channel, *reactor), Error::kNone);
    EXPECT_EQ(Request(Op::kFlush, 0, 0).run(*channel, *reactor), Error::kNone);
    written = write.bytes();
    EXPECT_FALSE(open(spec).ok()) << "the file is locked";
  }
  auto reactor = std::move(*Reactor::create());
  auto volume = open(spec + ",ro");
  ASSERT_TRUE(volume.ok()) << volume.status();
  auto channel = std::move(*(*volume)->open_channel(*reactor));
  Request read(Op::kRead, 8192, 4096);
  EXPECT_EQ(read.run(*channel, *reactor), Error::kNone);
  EXPECT_EQ(read.bytes(), written);
  EXPECT_EQ(Request(Op::kWrite, 0, 4096).run(*channel, *reactor), Error::kReadOnly);
  EXPECT_EQ(Request(Op::kFlush, 0, 0).run(*channel, *reactor), Error::kNone);
}

// Others cut the file: reads end with an error, not with zeroes, and no write makes it longer
// again.
TEST(File, NothingBeyondTheEndOfAFileThatWasCut) {
  TempDir dir;
  const std::string path = dir.file("disk");
  Opened disk("file:" + path + ",size=1MiB");
  ASSERT_EQ(truncate(path.c_str(), 512 << 10), 0);
  EXPECT_EQ(disk.run(Op::kRead, (512 << 10) - 4096, 8192), Error::kOutOfRange);
  EXPECT_EQ(disk.run(Op::kRead, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_EQ(disk.run(Op::kWrite, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_EQ(disk.run(Op::kWrite, (512 << 10) - 4096, 8192), Error::kOutOfRange);
  EXPECT_EQ(disk.volume->geometry().bytes(), 512u << 10) << "what met the end has told it";
  EXPECT_EQ(disk.run(Op::kWriteZeroes, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_EQ(disk.run(Op::kDeallocate, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_EQ(size_of(path), 512u << 10);
  EXPECT_EQ(disk.run(Op::kWrite, (512 << 10) - 4096, 4096), Error::kNone);
}

TEST(File, RefreshReportsHowTheSizeChanged) {
  TempDir dir;
  const std::string path = dir.file("disk");
  Opened disk("file:" + path + ",size=1MiB");
  EXPECT_EQ(*disk.volume->refresh(0), SizeChange::kSame);
  ASSERT_EQ(truncate(path.c_str(), (2 << 20) + 512), 0);
  EXPECT_EQ(disk.volume->geometry().bytes(), 1u << 20);  // not before it is asked for
  EXPECT_EQ(*disk.volume->refresh(0), SizeChange::kGrown);
  EXPECT_EQ(disk.volume->geometry().bytes(), 2u << 20);  // whole blocks
  EXPECT_EQ(disk.run(Op::kWrite, (2 << 20) - 4096, 4096), Error::kNone);
  ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
  EXPECT_EQ(*disk.volume->refresh(0), SizeChange::kShrunk);
  EXPECT_EQ(disk.volume->geometry().bytes(), 1u << 20);
  EXPECT_EQ(*disk.volume->refresh(3 << 20), SizeChange::kGrown);
  EXPECT_EQ(size_of(path), 3u << 20);
  EXPECT_EQ(*disk.volume->refresh(1 << 20), SizeChange::kSame) << "it does not cut";
}

TEST(File, AFileThatCannotGrowReportsIt) {
  TempDir dir;
  const std::string spec = "file:" + dir.file("disk");
  ASSERT_TRUE(open(spec + ",size=1MiB").ok());
  Opened disk(spec + ",ro");
  EXPECT_TRUE(contains(std::string(disk.volume->refresh(2 << 20).status().message()), "1048576"));
  EXPECT_FALSE((*open("ram:1MiB"))->refresh(2 << 20).ok());
  EXPECT_EQ(*(*open("ram:1MiB"))->refresh(1 << 20), SizeChange::kSame);
}

// A reader on one thread, refresh() on another: the snapshot is one of the sizes there were.
TEST(File, TheSizeMayChangeUnderOtherThreads) {
  TempDir dir;
  const std::string path = dir.file("disk");
  Opened disk("file:" + path + ",size=1MiB");
  std::atomic<bool> stop = false;
  std::atomic<bool> wrong = false;
  std::jthread resizer([&] {
    for (int i = 0; i < 5000; ++i) {
      ASSERT_EQ(truncate(path.c_str(), i % 2 == 0 ? 4 << 20 : 1 << 20), 0);
      EXPECT_TRUE(disk.volume->refresh(0).ok());
    }
    stop = true;
  });
  Request read(Op::kRead, 3 << 20, 4096);
  while (!stop) {
    const uint64_t bytes = disk.volume->geometry().bytes();
    if (bytes != 1u << 20 && bytes != 4u << 20) wrong = true;
    const Error error = read.run(*disk.channel, *disk.reactor);
    if (error != Error::kNone && error != Error::kOutOfRange) wrong = true;
  }
  EXPECT_FALSE(wrong);
}

TEST(File, ItsIdentityIsNotItsPath) {
  TempDir dir;
  const std::string path = dir.file("disk");
  ASSERT_TRUE(open("file:" + path + ",size=1MiB").ok());
  std::filesystem::create_hard_link(path, dir.file("hard"));
  std::filesystem::create_symlink(path, dir.file("soft"));
  const auto disk = *open("file:" + path + ",ro");
  const auto hard = *open("file:" + dir.file("hard") + ",ro,bs=512");
  const auto soft = *open("file:" + dir.file("soft") + ",ro");
  EXPECT_EQ(disk->identity(), hard->identity());
  EXPECT_EQ(disk->identity(), soft->identity());
  EXPECT_EQ(disk->identity().text(), soft->identity().text());
  EXPECT_EQ(disk->identity().kind(), StoreIdentity::Kind::kFile);
  const auto other = *open("file:" + dir.file("other") + ",size=1MiB");
  EXPECT_NE(disk->identity(), other->identity());
  EXPECT_NE(disk->identity().text(), other->identity().text());
}

// The inode of the removed file is the first that many file systems give out again.
TEST(File, ARecreatedFileIsAnotherStore) {
  TempDir dir;
  const std::string path = dir.file("disk");
  const auto make = [&] {
    std::filesystem::remove(path);
    std::ofstream(path) << "x";
    return *StoreIdentity::of(path);
  };
  for (int i = 0; i < 3; ++i) {
    const StoreIdentity before = make();
    const StoreIdentity after = make();
    EXPECT_NE(before, after);
    EXPECT_NE(before.text(), after.text());
  }
}

TEST(File, AReplacedFileIsNoticed) {
  TempDir dir;
  const std::string path = dir.file("disk");
  const auto disk = *open("file:" + path + ",size=1MiB");
  EXPECT_TRUE(disk->still_there().ok());
  std::filesystem::rename(path, dir.file("moved"));
  EXPECT_TRUE(absl::IsNotFound(disk->still_there())) << disk->still_there();
  std::ofstream(path) << std::string(1 << 20, 'x');
  EXPECT_TRUE(absl::IsFailedPrecondition(disk->still_there())) << disk->still_there();
  EXPECT_TRUE(contains(std::string(disk->still_there().message()), disk->identity().text()));
  std::filesystem::rename(dir.file("moved"), path);
  EXPECT_TRUE(disk->still_there().ok());
}

TEST(Identity, OfMemoryIsTheNameItWasGiven) {
  const auto a = *open("ram:1MiB,name=a");
  EXPECT_EQ(a->identity().text(), "name:a");
  EXPECT_TRUE(a->identity().stable());
  EXPECT_TRUE(contains(why_not("null:1TiB,name=a"), "ram:1MiB,name=a")) << "served twice";
  const auto first = *open("ram:1MiB");
  const auto second = *open("ram:1MiB");
  EXPECT_NE(first->identity(), second->identity());
  EXPECT_FALSE(first->identity().stable());
}

TEST(Claim, OneFileIsServedOnceInAProcess) {
  TempDir dir;
  const std::string path = dir.file("disk");
  std::filesystem::create_directory(dir.file("d"));
  auto disk = *open("file:" + path + ",size=1MiB");
  std::filesystem::create_symlink(path, dir.file("d/alias"));
  const std::string alias = "file:" + dir.file("d/alias");
  EXPECT_TRUE(contains(why_not(alias), "file:" + path)) << why_not(alias);
  EXPECT_TRUE(contains(why_not(alias + ",ro"), ",ro")) << why_not(alias + ",ro");
  disk.reset();
  const auto reader = *open("file:" + path + ",ro");
  EXPECT_EQ(why_not(alias + ",ro"), "");
  EXPECT_NE(why_not(alias), "");
}

// A child that holds the lock until it is asked to end.
class OtherProcess {
 public:
  OtherProcess(const std::string& path, bool read_only) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
      const bool ok = eventually([&] { return lock_file(fd, path, read_only).ok(); });
      [[maybe_unused]] const ssize_t n = write(ready[1], ok ? "1" : "0", 1);
      pause();
      _exit(0);
    }
    close(ready[1]);
    char answer = 0;
    EXPECT_EQ(read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, '1');
    close(ready[0]);
  }
  ~OtherProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST(Claim, AnotherProcessIsNamed) {
  TempDir dir;
  const std::string path = dir.file("disk");
  ASSERT_TRUE(open("file:" + path + ",size=1MiB").ok());
  {
    const OtherProcess writer(path, false);
    const auto begin = std::chrono::steady_clock::now();
    const std::string why = why_not("file:" + path);
    EXPECT_TRUE(contains(why, "process " + std::to_string(writer.pid()))) << why;
    EXPECT_NE(why_not("file:" + path + ",ro"), "");
    // Who waits for the kernel to let go of a lock pauses for two seconds altogether, here twice.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4))
        << "nothing to wait for: it lives";
  }
  {
    const OtherProcess reader(path, true);
    EXPECT_EQ(why_not("file:" + path + ",ro"), "");
    EXPECT_NE(why_not("file:" + path), "");
  }
  EXPECT_EQ(why_not("file:" + path), "") << "the lock went with the process";
}

TEST(Open, RefusesSizesThatCannotBe) {
  TempDir dir;
  const std::string path = dir.file("disk");
  EXPECT_TRUE(contains(why_not("file:" + path + ",size=10000"), "12288"));
  EXPECT_TRUE(contains(why_not("file:" + path + ",size=0"), "zero"));
  EXPECT_TRUE(contains(why_not("file:" + path + ",size=1MiB,ro"), ",ro"));
  EXPECT_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << std::string(4096 + 512, 'x');
  EXPECT_TRUE(contains(why_not("file:" + path), "bs=512")) << why_not("file:" + path);
  EXPECT_EQ(why_not("file:" + path + ",bs=512"), "");
  EXPECT_EQ(truncate(path.c_str(), 5000), 0);
  EXPECT_TRUE(contains(why_not("file:" + path + ",bs=512"), "5120"));
  EXPECT_EQ(truncate(path.c_str(), 0), 0);
  EXPECT_TRUE(contains(why_not("file:" + path), "empty"));
  EXPECT_EQ(truncate(path.c_str(), 8192), 0);
  EXPECT_TRUE(contains(why_not("file:" + path + ",ro,size=16KiB"), "8192"));
  EXPECT_TRUE(contains(why_not("file:" + path + ",size=4KiB"), "write size=8KiB"));
  EXPECT_EQ(size_of(path), 8192u);
  EXPECT_EQ((*open("file:" + path + ",size=16KiB"))->geometry().blocks, 4u);
  EXPECT_EQ(size_of(path), 16384u);
}

// Opening a FIFO for reading waits for a writer, and with it waits the whole program.
// So that --check-config reports the same as a start.
TEST(Check, LooksAtTheSizeOfAFileThatIsThere) {
  TempDir dir;
  const std::string path = dir.file("disk");
  EXPECT_TRUE(contains(std::string(check_there("file:" + path).message()), "does not exist; add"));
  std::ofstream(path).close();
  EXPECT_TRUE(contains(std::string(check_there("file:" + path).message()), "is empty; add"));
  std::filesystem::resize_file(path, 4096 + 512);
  EXPECT_TRUE(contains(std::string(check_there("file:" + path).message()),
                       "4608 bytes is not a whole number of 4096-byte blocks; write \",bs=512\""));
  EXPECT_TRUE(check_there("file:" + path + ",bs=512").ok());
  EXPECT_TRUE(check_there("file:" + path + ",size=1MiB").ok());
}

TEST(Open, DoesNotWaitForAFifo) {
  TempDir dir;
  const std::string path = dir.file("fifo");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_TRUE(contains(why_not("file:" + path + ",ro"), "neither"));
  EXPECT_TRUE(contains(std::string(read_text(path).status().message()), "not a regular file"))
      << "a configuration file, for example";
  EXPECT_TRUE(contains(why_not("file:/dev/null"), "neither"));
}

TEST(Open, AcceptsPathsWithAnyCharacter) {
  TempDir dir;
  const std::string path = dir.file("a,b=c%d e");
  EXPECT_EQ(why_not("file:" + dir.file("a%2Cb%3Dc%25d e") + ",size=1MiB"), "");
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_TRUE(contains(why_not("file:" + dir.file("a,b") + ",size=1MiB"), "%2C"));
  EXPECT_TRUE(contains(why_not("file:" + dir.file("50%")), "%25"));
}

TEST(SavedSize, IsThePresentOne) {
  TempDir dir;
  const std::string path = dir.file("disk");
  std::ofstream(path) << std::string(8192, 'x');
  for (const char* written : {"4KiB", "8KiB", "16KiB"}) {
    EXPECT_EQ(with_present_size("file:" + path + ",size=" + written),
              "file:" + path + ",size=8KiB");
  }
  EXPECT_EQ(with_present_size("file:" + path), "file:" + path);
  EXPECT_EQ(with_present_size("file:/no/such/file,size=1MiB"), "file:/no/such/file,size=1MiB");
  EXPECT_EQ(with_present_size("ram:1MiB"), "ram:1MiB");
}

}  // namespace
}  // namespace mrpool::storage
