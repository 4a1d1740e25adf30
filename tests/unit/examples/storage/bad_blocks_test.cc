#include "examples/storage/bad_blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "examples/storage/storage.h"

namespace mrpool::storage {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr Geometry kGeometry{.block_size = kBlock, .blocks = 1 << 20};
using Range = BadBlocks::Range;

class BadBlocksTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // In blocks.
  Error mark(uint64_t first, uint64_t count) {
    return marks_.mark(first * kBlock, count * kBlock, kGeometry);
  }
  Error clear(uint64_t first, uint64_t count) {
    return marks_.clear(first * kBlock, count * kBlock);
  }
  std::optional<uint64_t> first_in(uint64_t first, uint64_t count) const {
    const auto at = marks_.first_in(first * kBlock, count * kBlock);
    if (!at) return at;
    return *at / kBlock;
  }
  std::string content() const {
    std::stringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }

  const std::string folder_ = testing::TempDir() + "/bad_blocks_test";
  const std::string file_ = folder_ + "/bad-1";
  BadBlocks marks_;
};

TEST_F(BadBlocksTest, MarksJoinAndSplit) {
  EXPECT_FALSE(marks_.any());
  EXPECT_FALSE(first_in(0, 1 << 20));
  EXPECT_EQ(mark(10, 5), Error::kNone);
  EXPECT_EQ(mark(20, 5), Error::kNone);
  EXPECT_EQ(mark(15, 5), Error::kNone);  // from 10 to 25
  EXPECT_EQ(mark(12, 3), Error::kNone);
  EXPECT_TRUE(marks_.any());
  EXPECT_EQ(first_in(0, 100), 10u);
  EXPECT_EQ(first_in(0, 11), 10u);
  EXPECT_FALSE(first_in(0, 10));
  EXPECT_EQ(first_in(17, 1), 17u);
  EXPECT_FALSE(first_in(25, 100));
  EXPECT_EQ(clear(12, 2), Error::kNone);
  EXPECT_EQ(first_in(11, 10), 11u);
  EXPECT_EQ(first_in(12, 10), 14u);
  EXPECT_EQ(clear(0, 12), Error::kNone);
  EXPECT_EQ(clear(24, 100), Error::kNone);
  EXPECT_EQ(first_in(0, 100), 14u);
  EXPECT_FALSE(first_in(24, 10));
  EXPECT_EQ(marks_.clear(0, UINT64_MAX), Error::kNone);
  EXPECT_FALSE(marks_.any());
}

TEST_F(BadBlocksTest, AFullTableRefusesAndWritesMakeRoom) {
  EXPECT_EQ(mark(0, BadBlocks::kMaxBlocks), Error::kNone);
  EXPECT_EQ(mark(5, 10), Error::kNone);  // they are marked
  EXPECT_EQ(mark(BadBlocks::kMaxBlocks + 7, 1), Error::kMarksFull);
  EXPECT_FALSE(first_in(BadBlocks::kMaxBlocks, 100));
  EXPECT_EQ(clear(100, 1), Error::kNone);
  EXPECT_EQ(mark(BadBlocks::kMaxBlocks + 7, 1), Error::kNone);
  EXPECT_EQ(mark(100, 1), Error::kMarksFull);
}

// Of a store that has shrunk, what is beyond its end stays marked until there is no room for more.
TEST_F(BadBlocksTest, MarksBeyondTheEndGiveWay) {
  EXPECT_EQ(mark(1000, BadBlocks::kMaxBlocks), Error::kNone);
  const Geometry shrunk{.block_size = kBlock, .blocks = 1002};
  EXPECT_EQ(first_in(2000, 1), 2000u);
  EXPECT_EQ(marks_.mark(0, kBlock, shrunk), Error::kNone);
  EXPECT_EQ(first_in(0, 1), 0u);
  EXPECT_EQ(first_in(500, 5000), 1000u);
  EXPECT_FALSE(first_in(1002, 100'000));
}

TEST_F(BadBlocksTest, ChangesAreKept) {
  ASSERT_TRUE(marks_.keep_at(file_).ok());
  EXPECT_TRUE(marks_.kept());
  EXPECT_EQ(content(), "");
  EXPECT_EQ(mark(1, 2), Error::kNone);
  EXPECT_EQ(mark(7, 1), Error::kNone);
  EXPECT_EQ(content(), "mrpool bad blocks 1\n4096 8192\n28672 4096\n");
  BadBlocks again;
  ASSERT_TRUE(again.keep_at(file_).ok());
  EXPECT_EQ(again.first_in(0, 1 << 30), kBlock);
  EXPECT_EQ(again.first_in(3 * kBlock, 1 << 30), 7 * kBlock);
  EXPECT_EQ(clear(0, 100), Error::kNone);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(BadBlocksTest, NothingChangesWhenItCannotBeKept) {
  ASSERT_TRUE(marks_.keep_at(file_).ok());
  EXPECT_EQ(mark(1, 1), Error::kNone);
  std::filesystem::remove_all(folder_);
  EXPECT_EQ(mark(5, 1), Error::kMarkNotKept);
  EXPECT_FALSE(first_in(5, 1));
  EXPECT_EQ(clear(1, 1), Error::kMarkNotKept);
  EXPECT_EQ(first_in(1, 1), 1u);
  EXPECT_EQ(clear(9, 1), Error::kNone);  // nothing to keep
}

TEST_F(BadBlocksTest, WhatIsUnreadableIsNotUsed) {
  const std::string head = "mrpool bad blocks 1\n";
  EXPECT_TRUE(BadBlocks::parse(head + "0 512\n1024 512\n"));
  for (const char* text :
       {"", "0 512", "512 0\n", "0 512\n512 512\n", "1024 512\n0 512\n", "0 1024\n512 512\n",
        "0 512 \n", " 0 512\n", "00 512\n", "+0 512\n", "-512 1024\n", "0 513\n", "5 512\n",
        "18446744073709551104 1024\n", "18446744073709551616 512\n", "0 512\nx"}) {
    EXPECT_FALSE(BadBlocks::parse(head + text)) << text;
  }
  EXPECT_FALSE(BadBlocks::parse("0 512\n"));
  std::ofstream(file_) << "rubbish";
  const absl::Status status = marks_.keep_at(file_);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_NE(status.message().find(file_), std::string::npos);
}

TEST_F(BadBlocksTest, OnlyStoresThatOutliveTheProcessAreKept) {
  const auto ram = *open("ram:1MiB,name=bad_blocks_test");
  const std::string path = folder_ + "/disk.img";
  const auto file = *open("file:" + path + ",size=1MiB");
  EXPECT_FALSE(file->shared());
  ASSERT_TRUE(keep_bad_blocks(folder_, std::array{ram, std::shared_ptr<Volume>(), file}).ok());
  EXPECT_FALSE(ram->bad_blocks().kept());
  EXPECT_TRUE(file->bad_blocks().kept());
  ASSERT_TRUE(keep_bad_blocks(folder_, std::array{file}).ok());  // as each reload does
  EXPECT_EQ(file->bad_blocks().mark(0, kBlock, file->geometry()), Error::kNone);
  const std::string kept = folder_ + "/" + bad_blocks_file(file->identity(), path);
  EXPECT_TRUE(std::filesystem::exists(kept));
}

TEST_F(BadBlocksTest, StoresThatOthersWriteToAreShared) {
  const auto file = *open("file:" + folder_ + "/disk.img,size=1MiB,shared");
  EXPECT_TRUE(file->shared());
  ASSERT_TRUE(keep_bad_blocks(folder_, std::array{file}).ok());
  EXPECT_FALSE(file->bad_blocks().kept());
}

TEST_F(BadBlocksTest, AReplacingVolumeHasTheMarks) {
  const auto before = *open("ram:1MiB,name=bad_blocks_test");
  EXPECT_EQ(before->bad_blocks().mark(0, kBlock, before->geometry()), Error::kNone);
  const auto after = *open("ram:1MiB,name=bad_blocks_test,bs=512", {.replaces = before});
  after->succeed(*before);
  EXPECT_EQ(after->bad_blocks().first_in(512, 512), 512u);
}

// Threads set, clear and look at marks of blocks of their own.
TEST_F(BadBlocksTest, ThreadsSeeTheirOwnChanges) {
  constexpr uint64_t kThreads = 4, kRounds = 300;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kRounds; ++i) {
        const uint64_t block = t * 1000 + i;
        if (mark(block, 1) != Error::kNone || !marks_.any()) ++wrong;
        if (first_in(block, 1) != block) ++wrong;
        if (clear(block, 1) != Error::kNone || first_in(block, 1)) ++wrong;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(marks_.any());
}

}  // namespace
}  // namespace mrpool::storage
