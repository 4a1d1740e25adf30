#include "examples/load/file_worker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "examples/load/file.h"

namespace mrpool::load {
namespace {

using testing::HasSubstr;

class FileWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "mrpool-file-XXXXXX";
    const int fd = ::mkstemp(path.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    path_ = path;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void fill(const std::string& text) { std::ofstream(path_) << text; }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  absl::StatusOr<size_t> read(FileWorker& worker, std::span<std::byte> to) {
    worker.read(to, [this](absl::StatusOr<size_t> result) { ended(std::move(result)); });
    return wait();
  }
  absl::StatusOr<size_t> write(FileWorker& worker, const std::string& text) {
    worker.write(std::as_bytes(std::span(text)),
                 [this](absl::StatusOr<size_t> result) { ended(std::move(result)); });
    return wait();
  }
  void ended(absl::StatusOr<size_t> result) {
    result_ = std::move(result);
    reactor_->stop();
  }
  absl::StatusOr<size_t> wait() {
    reactor_->run();
    return result_;
  }

  std::string path_;
  std::unique_ptr<Reactor> reactor_ = *Reactor::create();
  absl::StatusOr<size_t> result_ = size_t{0};
};

TEST_F(FileWorkerTest, ReadsToTheEnd) {
  fill("some text");
  const auto file = File::open_input(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->left(), 9u);
  const auto worker = *FileWorker::create(*reactor_, file->fd());
  std::array<std::byte, 6> room{};
  EXPECT_EQ(*read(*worker, room), 6u);
  EXPECT_EQ(file->left(), 3u);
  EXPECT_EQ(*read(*worker, room), 3u);
  EXPECT_EQ(*read(*worker, room), 0u);
}

TEST_F(FileWorkerTest, AnOutputFileKeepsItsContentUntilTheFirstWrite) {
  fill("what was there before, and is longer");
  const auto file = File::open_output(path_);
  ASSERT_TRUE(file.ok());
  { const auto unused = *FileWorker::create(*reactor_, file->fd(), file->named()); }
  EXPECT_EQ(content(), "what was there before, and is longer");
  const auto worker = *FileWorker::create(*reactor_, file->fd(), file->named());
  EXPECT_EQ(*write(*worker, "new"), 3u);
  EXPECT_EQ(*write(*worker, " text"), 5u);
  EXPECT_EQ(content(), "new text");
}

TEST_F(FileWorkerTest, AnEmptyWriteEmptiesToo) {
  fill("old");
  const auto file = File::open_output(path_);
  const auto worker = *FileWorker::create(*reactor_, file->fd(), file->named());
  EXPECT_EQ(*write(*worker, ""), 0u);
  EXPECT_EQ(content(), "");
}

TEST_F(FileWorkerTest, WhatTheShellOpenedIsAppendedTo) {
  fill("old ");
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND);
  {
    const auto worker = *FileWorker::create(*reactor_, fd);
    EXPECT_EQ(*write(*worker, "new"), 3u);
  }
  ::close(fd);
  EXPECT_EQ(content(), "old new");
}

TEST_F(FileWorkerTest, AReadThatWaitsForAPipeIsEndedByCancel) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  {
    const auto worker = *FileWorker::create(*reactor_, pipe[0]);
    std::array<std::byte, 6> room{};
    worker->read(room, [this](absl::StatusOr<size_t> result) { ended(std::move(result)); });
    worker->cancel();
    EXPECT_TRUE(absl::IsCancelled(wait().status()));
    // Destroyed while one waits.
    const auto other = *FileWorker::create(*reactor_, pipe[0]);
    other->read(room, [](const absl::StatusOr<size_t>&) { FAIL(); });
  }
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(FileWorkerTest, AWriteThatWaitsForAPipeIsEndedByCancel) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const auto worker = *FileWorker::create(*reactor_, pipe[1]);
  const std::string much(1 << 20, 'x');  // more than a pipe holds
  worker->write(std::as_bytes(std::span(much)),
                [this](absl::StatusOr<size_t> result) { ended(std::move(result)); });
  char byte;
  ASSERT_EQ(::read(pipe[0], &byte, 1), 1);  // it is at it
  worker->cancel();
  EXPECT_TRUE(absl::IsCancelled(wait().status()));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(FileWorkerTest, ErrorsHaveTheReasonOfTheSystem) {
  const int full = ::open("/dev/full", O_WRONLY);
  {
    const auto worker = *FileWorker::create(*reactor_, full);
    const auto written = write(*worker, "text");
    EXPECT_EQ(written.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(written.status().message()), HasSubstr("No space left"));
  }
  ::close(full);
  const auto missing = File::open_input("/nowhere/file");
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("'/nowhere/file'"));
}

TEST_F(FileWorkerTest, AnOutputThatCannotBeIsNamedBeforeItIsOpened) {
  EXPECT_TRUE(File::check_output("-").ok());
  fill("kept");
  EXPECT_TRUE(File::check_output(path_).ok());
  EXPECT_EQ(content(), "kept");
  const std::string absent = path_ + ".new";
  EXPECT_TRUE(File::check_output(absent).ok());
  EXPECT_FALSE(std::filesystem::exists(absent));
  EXPECT_THAT(std::string(File::check_output("/no/such/folder/file").message()),
              HasSubstr("'/no/such/folder/file': No such file"));
  EXPECT_THAT(std::string(File::check_output(path_ + "/file").message()),
              HasSubstr("Not a directory"));
  EXPECT_FALSE(File::check_output(testing::TempDir()).ok());
  EXPECT_FALSE(File::check_output("").ok());
}

}  // namespace
}  // namespace mrpool::load
