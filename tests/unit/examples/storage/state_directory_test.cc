#include "examples/storage/state_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "examples/base/log_thread.h"
#include "examples/storage/state_file.h"

namespace mrpool::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string error_of(const absl::Status& status) { return std::string(status.message()); }

// A file on a file system without an identifier of its own.
StoreIdentity nameless_file(dev_t device, ino_t inode) {
  struct stat info {};
  info.st_mode = S_IFREG;
  info.st_dev = device;
  info.st_ino = inode;
  return StoreIdentity::of(-1, info);
}
StoreIdentity nameless_disk(dev_t number) {
  struct stat info {};
  info.st_mode = S_IFBLK;
  info.st_rdev = number;
  return StoreIdentity::of(-1, info);
}

class StateDirectoryTest : public ::testing::Test {
 protected:
  StateDirectoryTest() { std::filesystem::create_directory(path_); }
  ~StateDirectoryTest() override { std::filesystem::remove_all(path_); }

  // As after a restart.
  Uuid uuid_of(const StoreIdentity& identity, const std::string& path = {}) {
    const std::unique_ptr<StateDirectory> state = open();
    const StateDirectory::Store store{identity, path};
    const Uuid uuid = state->uuids_of({&store, 1}).front();
    EXPECT_EQ(state->keep(), absl::OkStatus());
    return uuid;
  }
  std::unique_ptr<StateDirectory> open() {
    auto state = StateDirectory::open(path_);
    EXPECT_TRUE(state.ok()) << state.status();
    return *std::move(state);
  }
  std::string said() {
    base::flush_log();
    return ::testing::internal::GetCapturedStderr();
  }
  static void listen() { ::testing::internal::CaptureStderr(); }
  void hold(std::string_view content) { std::ofstream(path_ + "/stores") << content; }

  const std::string path_ = ::testing::TempDir() + "state-" + std::to_string(::getpid());
};

TEST_F(StateDirectoryTest, AnIdentifierStaysWhatItWasFirst) {
  const StoreIdentity named = StoreIdentity::named("scratch");
  const Uuid uuid = uuid_of(named);
  EXPECT_EQ(uuid, storage::uuid_of(named));
  // As if it had been derived in another way, or on another machine, by then.
  hold("mrpool stores 1\n0a1b2c3d-0000-4000-8000-000000000001 name:scratch - -\n");
  EXPECT_EQ(format_uuid(uuid_of(named)), "0a1b2c3d-0000-4000-8000-000000000001");
}

TEST_F(StateDirectoryTest, AFileSystemThatIsMountedAgainKeepsItsFiles) {
  listen();
  const Uuid uuid = uuid_of(nameless_file(makedev(0, 45), 7), "/srv/a.img");
  EXPECT_EQ(uuid_of(nameless_file(makedev(0, 51), 7), "/srv/a.img"), uuid);
  EXPECT_EQ(uuid_of(nameless_file(makedev(0, 51), 7), "/srv/../srv/a.img"), uuid);
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(StateDirectoryTest, AFileThatIsRenamedWhileItIsServedKeepsItsOwn) {
  const StoreIdentity file = nameless_file(makedev(0, 45), 7);
  const std::unique_ptr<StateDirectory> state = open();
  const StateDirectory::Store before{file, "/srv/a.img"}, after{file, "/srv/b.img"};
  const auto first = state->uuids_of({&before, 1});
  ASSERT_EQ(state->keep(), absl::OkStatus());
  EXPECT_EQ(state->uuids_of({&after, 1}), first);
}

TEST_F(StateDirectoryTest, ADeviceNumberThatIsUsedAgainIsAnotherStore) {
  listen();
  const Uuid first = uuid_of(nameless_file(makedev(0, 45), 7), "/srv/a.img");
  EXPECT_EQ(uuid_of(nameless_file(makedev(0, 51), 7), "/srv/a.img"), first);
  EXPECT_NE(uuid_of(nameless_file(makedev(0, 45), 7), "/mnt/b.img"), first);
  EXPECT_EQ(uuid_of(nameless_file(makedev(0, 51), 7), "/srv/a.img"), first);
  EXPECT_NE(uuid_of(nameless_file(makedev(0, 51), 7), "/mnt/c.img"), first) << "after a restart";
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(StateDirectoryTest, DisksThatChangePlacesAreKnownByTheirPaths) {
  listen();
  const std::string one = "/dev/disk/by-path/pci-1", two = "/dev/disk/by-path/pci-2";
  const Uuid first = uuid_of(nameless_disk(makedev(8, 16)), one);
  const Uuid second = uuid_of(nameless_disk(makedev(8, 32)), two);
  EXPECT_NE(first, second);
  EXPECT_EQ(uuid_of(nameless_disk(makedev(8, 32)), one), first);
  EXPECT_EQ(uuid_of(nameless_disk(makedev(8, 16)), two), second);
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(StateDirectoryTest, AnotherFileAtTheSamePathIsAnotherStoreAndReportedOnce) {
  const Uuid before = uuid_of(nameless_file(makedev(0, 45), 7), "/srv/a.img");
  listen();
  const Uuid after = uuid_of(nameless_file(makedev(0, 45), 8), "/srv/a.img");
  EXPECT_NE(after, before);
  const std::string report = said();
  EXPECT_THAT(report, HasSubstr("/srv/a.img is another store than was served from there before"));
  EXPECT_THAT(report, HasSubstr(format_uuid(before)));
  EXPECT_THAT(report, HasSubstr(format_uuid(after)));
  listen();
  EXPECT_EQ(uuid_of(nameless_file(makedev(0, 45), 8), "/srv/a.img"), after);
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(StateDirectoryTest, ARefusedConfigurationLeavesNoFiles) {
  const StoreIdentity file = nameless_file(makedev(0, 45), 7);
  listen();
  const Uuid uuid = uuid_of(file, "/srv/a.img");
  const auto content = [this] {
    std::ifstream in(path_ + "/stores");
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string before = content();
  const std::unique_ptr<StateDirectory> state = open();
  const StateDirectory::Store other{nameless_file(makedev(0, 45), 8), "/srv/a.img"};
  EXPECT_NE(state->uuids_of({&other, 1}).front(), uuid);
  EXPECT_EQ(content(), before);
  const StateDirectory::Store same{file, "/srv/a.img"};
  EXPECT_EQ(state->uuids_of({&same, 1}).front(), uuid);
  EXPECT_EQ(state->keep(), absl::OkStatus());
  EXPECT_EQ(state->keep(), absl::OkStatus()) << "nothing more to keep";
  EXPECT_EQ(content(), before);
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(StateDirectoryTest, MemoryWithoutANameIsNotRemembered) {
  EXPECT_NE(uuid_of(StoreIdentity::unnamed()), uuid_of(StoreIdentity::unnamed()));
  EXPECT_FALSE(std::filesystem::exists(path_ + "/stores"));
}

TEST_F(StateDirectoryTest, WhatCannotBeReadIsRefusedByLine) {
  const std::string good = "mrpool stores 1\n0a1b2c3d-0000-4000-8000-000000000001 name:a - -\n";
  hold(good);
  EXPECT_TRUE(StateDirectory::open(path_).ok());
  for (const char* bad : {"0a1b2c3d name:b - -\n", "name:b\n", "\n\n", "  \n",
                          "0a1b2c3d-0000-4000-8000-000000000002 name:b - - more\n"}) {
    hold(good + bad);
    const absl::Status status = StateDirectory::open(path_).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << bad << status;
    EXPECT_THAT(error_of(status), HasSubstr("stores: line 3 is unreadable; restore the file"));
    EXPECT_EQ(StateDirectory::check(path_), status) << "as a check of the configuration says it";
  }
  hold("another program's\n");
  EXPECT_THAT(error_of(StateDirectory::open(path_).status()), HasSubstr("line 1 is unreadable"));
}

TEST_F(StateDirectoryTest, HasOneOwnerAndMustExist) {
  {
    const std::unique_ptr<StateDirectory> owner = open();
    const absl::Status other = StateDirectory::open(path_).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(other));
    EXPECT_THAT(error_of(other), HasSubstr(path_ + " is in use by process " +
                                           std::to_string(::getpid()) + "; end it first"));
  }
  EXPECT_TRUE(StateDirectory::open(path_).ok());
  EXPECT_THAT(error_of(StateDirectory::open(path_ + "/absent").status()),
              HasSubstr("no such directory; create it first"));
}

TEST(StateFile, IsReplacedWholeAndRemovedWhenEmpty) {
  const auto path =
      std::filesystem::temp_directory_path() / ("mrpool-state-" + std::to_string(::getpid()));
  EXPECT_EQ(read_state(path).value(), "");
  ASSERT_TRUE(write_state(path, "one\n").ok());
  ASSERT_TRUE(write_state(path, "two\n").ok());
  EXPECT_EQ(read_state(path).value(), "two\n");
  ASSERT_TRUE(write_state(path, "").ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(write_state(path, "").ok());
  EXPECT_FALSE(write_state("/nonexistent-folder/state", "x").ok());
}

}  // namespace
}  // namespace mrpool::storage
