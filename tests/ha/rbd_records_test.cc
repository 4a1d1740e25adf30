// Records of a group in a real cluster: guarded changes, and the fence of one client among several.
// MRPOOL_RBD_STORE is the address of an image; tests/ha/rbd_test.py runs it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "examples/storage/records.h"
#include "examples/storage/storage.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

using Entries = RecordEntries;

class RbdRecords : public testing::Test {
 protected:
  void SetUp() override {
    const char* address = std::getenv("MRPOOL_RBD_STORE");
    ASSERT_NE(address, nullptr) << "MRPOOL_RBD_STORE names no image";
    image_ = address;
    records_address_ = image_;
    records_address_.insert(image_.find(','), "-records");
    records_ = open_records();
    ASSERT_NE(records_, nullptr);
  }
  std::unique_ptr<Records> open_records() const {
    auto opened = Records::open(records_address_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  static Error run(Op op, Volume& volume, Reactor& reactor) {
    const auto channel = std::move(*volume.open_channel(reactor));
    Request request(op, 0, 4096);
    return request.run(*channel, reactor);
  }
  static Error write(Volume& volume, Reactor& reactor) { return run(Op::kWrite, volume, reactor); }

  std::string image_;
  std::string records_address_;
  std::unique_ptr<Records> records_;
};

TEST_F(RbdRecords, ChangesAreGuarded) {
  EXPECT_TRUE(records_->write({{"owner", ""}}, {{"owner", "3 a"}, {"member", "b"}}).ok());
  EXPECT_TRUE(absl::IsAborted(records_->write({{"owner", ""}}, {{"owner", "4 b"}})));
  EXPECT_TRUE(
      absl::IsAborted(records_->write({{"owner", "3 a"}, {"member", "c"}}, {{"owner", "4 b"}})));
  EXPECT_EQ(*records_->read(), (Entries{{"owner", "3 a"}, {"member", "b"}}));
  EXPECT_TRUE(records_->write({{"owner", "3 a"}, {"none", ""}}, {{"member", ""}}).ok());
  EXPECT_EQ(*open_records()->read(), (Entries{{"owner", "3 a"}}));
}

TEST_F(RbdRecords, ReadsAsManyAsThereAre) {
  Entries many;
  for (int i = 0; i < 1500; ++i) many["entry" + std::to_string(i)] = "value";
  EXPECT_TRUE(records_->write({}, many).ok());
  const auto other = open_records();
  auto all = *other->read();
  for (const auto& [key, value] : many) EXPECT_EQ(all[key], value);
}

TEST_F(RbdRecords, OneClientIsFenced) {
  const auto reactor = std::move(*Reactor::create());
  auto a = open(image_ + ",client=a");
  ASSERT_TRUE(a.ok()) << a.status();
  const std::string client = *records_->connect("a");
  const std::string other_client = *records_->connect("b");
  EXPECT_NE(client, other_client);
  EXPECT_EQ(write(**a, *reactor), Error::kNone);
  const auto other = open_records();
  EXPECT_TRUE(other->fence(client).ok());
  EXPECT_FALSE(other->settle("b").ok()) << "it has no such client";
  EXPECT_TRUE(records_->settle("b").ok());
  EXPECT_EQ(run(Op::kRead, **a, *reactor), Error::kInaccessible);
  EXPECT_EQ(write(**a, *reactor), Error::kInaccessible);
  EXPECT_TRUE((*a)->fenced());
  EXPECT_TRUE(records_->read().ok());
  EXPECT_NE(*records_->connect("a"), client);
  auto again = open(image_ + ",client=a", {.replaces = *a});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(write(**again, *reactor), Error::kNone);
}

TEST_F(RbdRecords, AnotherConnectFencesHere) {
  const auto reactor = std::move(*Reactor::create());
  const std::string address = *records_->connect("c");
  const auto volume = std::move(*open(image_ + ",client=c"));
  EXPECT_EQ(write(*volume, *reactor), Error::kNone);
  EXPECT_NE(*records_->connect("c"), address);
  EXPECT_TRUE(volume->fenced());
  EXPECT_EQ(write(*volume, *reactor), Error::kInaccessible);
}

TEST_F(RbdRecords, MistakesAreNamed) {
  EXPECT_NE(Records::parse("file:/a").status().message().find("rbd:POOL/OBJECT"),
            std::string::npos);
  EXPECT_NE(Records::parse("rbd:rbd/a,ro").status().message().find("ro is not known"),
            std::string::npos);
  const std::string conf = records_address_.substr(records_address_.find(','));
  EXPECT_NE(Records::open("rbd:nothing/a" + conf).status().message().find("no pool \"nothing\""),
            std::string::npos);
}

}  // namespace
}  // namespace mrpool::storage
