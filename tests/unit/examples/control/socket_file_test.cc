// The file of the control socket: its mode, stale sockets, sockets in use, other files.
#include "examples/control/socket_file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace mrpool::control::testing {
namespace {

class SocketFileTest : public ::testing::Test {
 protected:
  SocketFileTest() {
    std::string name = "/tmp/mrpool-control-XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = folder_ + "/socket";
  }
  ~SocketFileTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

TEST_F(SocketFileTest, OnlyTheOwnerMayConnectAndTheEndRemovesIt) {
  {
    const auto file = SocketFile::listen(path_);
    ASSERT_TRUE(file.ok()) << file.status();
    struct stat info;
    ASSERT_EQ(lstat(path_.c_str(), &info), 0);
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SocketFileTest, ALiveOneIsRefused) {
  const auto first = SocketFile::listen(path_);
  ASSERT_TRUE(first.ok());
  const auto second = SocketFile::listen(path_);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_NE(second.status().message().find("another process listens there"), std::string::npos);
}

TEST_F(SocketFileTest, AStaleOneIsReplaced) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);
  const auto file = SocketFile::listen(path_);
  EXPECT_TRUE(file.ok()) << file.status();
}

TEST_F(SocketFileTest, AFileThatIsNotASocketStays) {
  std::ofstream(path_) << "precious";
  const auto file = SocketFile::listen(path_);
  EXPECT_TRUE(absl::IsFailedPrecondition(file.status()));
  EXPECT_NE(file.status().message().find("is not a socket"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(SocketFileTest, AnotherFileInItsPlaceStays) {
  {
    const auto file = SocketFile::listen(path_);
    ASSERT_TRUE(file.ok());
    std::filesystem::remove(path_);
    std::ofstream(path_) << "precious";
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(SocketFileTest, PathsThatCannotBe) {
  EXPECT_TRUE(absl::IsInvalidArgument(SocketFile::listen("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(SocketFile::listen(std::string(200, 'x')).status()));
  const auto nowhere = SocketFile::listen(folder_ + "/none/socket");
  EXPECT_NE(nowhere.status().message().find("create its folder first"), std::string::npos);
}

}  // namespace
}  // namespace mrpool::control::testing
