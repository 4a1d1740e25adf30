#include "examples/storage/users.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

class FileUsers : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = dir.file(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string users(const std::string& name, bool read_only = false) const {
    struct stat info {};
    EXPECT_EQ(::stat((dir.file(name)).c_str(), &info), 0);
    return users_of_file(info, read_only, {.sys = dir.file("sys"), .proc = dir.file("proc")});
  }
  void SetUp() override {
    for (const char* name : {"disk", "other", "a swap"}) write(name, "x");
    write("sys/block/vda/ro", "0\n");
    write("sys/block/loop9998/ro", "0\n");  // nothing is attached
    write("sys/block/loop9999/loop/backing_file", dir.file("disk") + "\n");
    write("sys/block/loop9999/ro", "0\n");
    write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + dir.file("") +
                            "a\\040swap file\t\t1024\t\t0\t\t-2\n");
  }
  TempDir dir;
};

TEST_F(FileUsers, ALoopDevice) {
  const std::string said =
      "backs /dev/loop9999; detach it (losetup -d /dev/loop9999), or serve another file";
  EXPECT_EQ(users("disk"), said);
  EXPECT_EQ(users("disk", true), said);
  std::filesystem::create_hard_link(dir.file("disk"), dir.file("link"));
  EXPECT_EQ(users("link"), said);
  EXPECT_EQ(users("other"), "");
}

TEST_F(FileUsers, ALoopDeviceThatOnlyReads) {
  write("sys/block/loop9999/ro", "1\n");
  EXPECT_NE(users("disk"), "");
  EXPECT_EQ(users("disk", true), "");
}

TEST_F(FileUsers, Swap) {
  EXPECT_EQ(users("a swap"), "is swap space; switch it off (swapoff " + dir.file("") +
                                 "a swap) or serve another file");
}

TEST_F(FileUsers, NoTables) {
  std::filesystem::remove_all(dir.file("sys"));
  std::filesystem::remove_all(dir.file("proc"));
  EXPECT_EQ(users("disk"), "");
}

}  // namespace
}  // namespace mrpool::storage
