// Block devices whose size changes while they are served: a loop device, where one can be had.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "examples/storage/descriptor.h"
#include "examples/storage/stores.h"
#include "examples/storage/watch.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A file as a block device, until it goes out of scope.
class LoopDevice {
 public:
  LoopDevice(const std::string& file, uint64_t bytes) : file_(file) {
    std::ofstream(file_).close();
    std::filesystem::resize_file(file_, bytes);
    const Descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const Descriptor backing(::open(file_.c_str(), O_RDWR | O_CLOEXEC));
    // Another process may take the number in between.
    for (int i = 0; i < 16 && control.get() >= 0; ++i) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) break;
      path_ = "/dev/loop" + std::to_string(number);
      device_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
      if (device_.get() < 0) break;
      if (::ioctl(device_.get(), LOOP_SET_FD, backing.get()) == 0) {
        there_ = true;
        return;
      }
      if (errno != EBUSY) break;
    }
    why_ = std::strerror(errno);
  }
  ~LoopDevice() {
    if (there_) ::ioctl(device_.get(), LOOP_CLR_FD, 0);
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  bool there() const { return there_; }
  const std::string& why() const { return why_; }
  const std::string& path() const { return path_; }
  const std::string& file() const { return file_; }
  void resize(uint64_t bytes) {
    std::filesystem::resize_file(file_, bytes);
    ASSERT_EQ(::ioctl(device_.get(), LOOP_SET_CAPACITY, 0), 0) << std::strerror(errno);
  }

 private:
  const std::string file_;
  std::string path_;
  std::string why_;
  Descriptor device_{-1};
  bool there_ = false;
};

class BlockDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (!disk.there()) GTEST_SKIP() << "no loop device can be had: " << disk.why();
    auto opened = open("file:" + disk.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    volume = *opened;
    channel = std::move(*volume->open_channel(*reactor));
  }
  Error run(Op op, uint64_t offset, uint64_t length) {
    return Request(op, offset, length).run(*channel, *reactor);
  }

  TempDir folder;
  LoopDevice disk{folder.file("backing"), 1 << 20};
  std::unique_ptr<Reactor> reactor = std::move(*Reactor::create());
  std::shared_ptr<Volume> volume;
  std::unique_ptr<Channel> channel;
};

TEST_F(BlockDevice, GrowthIsReported) {
  StoreLook look;
  const std::shared_ptr<Volume> stores[] = {volume};
  EXPECT_EQ(volume->identity().kind(), StoreIdentity::Kind::kBlockDevice);
  EXPECT_EQ(volume->geometry().bytes(), 1u << 20);
  EXPECT_THAT(look.look(stores), IsEmpty());
  disk.resize(2 << 20);
  EXPECT_EQ(run(Op::kWrite, 1 << 20, 4096), Error::kOutOfRange) << "not before it is looked at";
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr(": grew from 1048576 to 2097152 bytes")));
  EXPECT_EQ(volume->geometry().bytes(), 2u << 20);
  EXPECT_EQ(run(Op::kWrite, (2 << 20) - 4096, 4096), Error::kNone);
  EXPECT_THAT(look.look(stores), IsEmpty());
}

TEST_F(BlockDevice, NothingIsReadOrWrittenBeyondTheEndOfOneThatShrank) {
  StoreLook look;
  const std::shared_ptr<Volume> stores[] = {volume};
  EXPECT_THAT(look.look(stores), IsEmpty());
  disk.resize(512 << 10);
  EXPECT_EQ(run(Op::kRead, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_EQ(run(Op::kWrite, 768 << 10, 4096), Error::kOutOfRange);
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr(": shrank from 1048576 to 524288 bytes")));
  EXPECT_EQ(volume->geometry().bytes(), 512u << 10);
  EXPECT_EQ(run(Op::kWrite, (512 << 10) - 4096, 4096), Error::kNone);
}

TEST_F(BlockDevice, CannotBeMadeLarger) {
  EXPECT_FALSE(volume->refresh(4 << 20).ok());
  EXPECT_EQ(volume->geometry().bytes(), 1u << 20);
}

// It is identified only by its number, and a state directory uses its path.
TEST_F(BlockDevice, WithoutANameOfItsOwnIsNotStable) {
  EXPECT_FALSE(volume->identity().stable());
  EXPECT_EQ(volume->identity().lasting(), "disk");
}

TEST_F(BlockDevice, IsOpenedExclusively) {
  const Descriptor second(::open(disk.path().c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  EXPECT_LT(second.get(), 0);
  EXPECT_EQ(errno, EBUSY);
}

TEST_F(BlockDevice, ThatIsMadeOfAServedFileIsReportedByName) {
  const std::string path = folder.file("served");
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  auto served = open("file:" + path);
  ASSERT_TRUE(served.ok()) << served.status();
  StoreLook look;
  const std::shared_ptr<Volume> stores[] = {*served};
  EXPECT_THAT(look.look(stores), IsEmpty());
  {
    const LoopDevice late(path, 1 << 20);
    ASSERT_TRUE(late.there()) << late.why();
    EXPECT_THAT(
        look.look(stores),
        ElementsAre("file:" + path + ": " + path + ", which is being served, backs " + late.path() +
                    "; detach it (losetup -d " + late.path() + "), or serve another file"));
    EXPECT_THAT(look.look(stores), IsEmpty());
  }
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr("no other program uses it any more")));
}

// Who writes to the file writes under the file system on the device.
TEST_F(BlockDevice, IsNotServedIfItsFileIsServed) {
  channel.reset();
  volume.reset();
  for (const char* options : {"", ",ro", ",direct"}) {
    EXPECT_THAT(open("file:" + disk.file() + options).status().message(),
                HasSubstr(disk.file() + " backs " + disk.path() + "; detach it (losetup -d " +
                          disk.path() + "), or serve another file"));
  }
  WantedStore wanted;
  wanted.spec = "file:" + disk.file();
  EXPECT_THAT(check_stores({&wanted, 1}).message(), HasSubstr(" backs " + disk.path()));
}

}  // namespace
}  // namespace mrpool::storage
