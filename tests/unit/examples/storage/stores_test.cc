// Which stores stay open from one configuration to the next, and what becomes of their identity.
#include "examples/storage/stores.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "examples/storage/claim.h"
#include "examples/storage/uuid.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

using testing::HasSubstr;
using Volumes = std::vector<std::shared_ptr<Volume>>;

class Stores : public testing::Test {
 protected:
  std::string file(const std::string& name, uint64_t bytes = 1 << 20) {
    const std::string path = folder.file(name);
    std::ofstream(path).close();
    std::filesystem::resize_file(path, bytes);
    return path;
  }

  // "2 ram:1MiB": the number was written; "ram:1MiB": it was not. `parent` counts from 1.
  std::vector<WantedStore> wanted(const std::vector<std::string>& texts,
                                  const std::string& parent = "nqn") {
    std::vector<WantedStore> all;
    for (const std::string& text : texts) {
      const size_t space = text.find(' ');
      const bool given = space != std::string::npos;
      all.push_back({.spec = given ? text.substr(space + 1) : text,
                     .block_size = block_size_of(text, block_size),
                     .parent = parent,
                     .place = given ? text.substr(0, space) : std::to_string(all.size() + 1),
                     .given = given,
                     .named = true});
    }
    return all;
  }
  // Serves them from now on; the error's text, or nothing.
  std::string serve_all(const std::vector<WantedStore>& stores) {
    Growth growth;
    auto volumes = open_stores(stores, served, open, growth);
    if (!volumes.ok()) return std::string(volumes.status().message());
    if (absl::Status status = keep(growth, nullptr); !status.ok()) {
      return std::string(status.message());
    }
    served.clear();
    for (size_t i = 0; i < stores.size(); ++i) {
      served.push_back({(*volumes)[i], stores[i].parent, stores[i].place});
    }
    return {};
  }
  std::string serve(const std::vector<std::string>& texts) { return serve_all(wanted(texts)); }
  // A mark in the memory of a volume.
  std::byte& mark(size_t i) { return served[i].volume->memory()[0]; }

  TempDir folder;
  uint32_t block_size = 512;
  std::vector<ServedStore> served;
};

TEST_F(Stores, StayOpenWhereverTheyAreServed) {
  const std::string a = "file:" + file("a"), b = "file:" + file("b");
  ASSERT_EQ(serve({a, b, "ram:1MiB,name=m"}), "");
  const auto before = served;
  ASSERT_EQ(serve({"7 ram:1MiB,name=m", "1 " + b}), "");
  EXPECT_EQ(served[0].volume, before[2].volume);
  EXPECT_EQ(served[1].volume, before[1].volume);
  ASSERT_EQ(serve_all(wanted({b}, "another")), "");
  EXPECT_EQ(served[0].volume, before[1].volume);
}

TEST_F(Stores, OtherOptionsOfAnOpenStoreTakeItOver) {
  const std::string a = "file:" + file("a");
  ASSERT_EQ(serve({a}), "");
  const Uuid uuid = uuid_of(served[0].volume->identity());
  for (const std::string options : {",ro", "", ",bs=4096", ",direct", ",direct,ro", ",bs=4096"}) {
    ASSERT_EQ(serve({a + options}), "") << options;
    EXPECT_EQ(served[0].volume->spec(), a + options);
    EXPECT_EQ(served[0].volume->geometry().read_only, options.ends_with("ro"));
    EXPECT_EQ(served[0].volume->geometry().block_size, block_size_of(a + options, block_size));
    EXPECT_EQ(uuid_of(served[0].volume->identity()), uuid);
    // Nobody else gets it meanwhile.
    EXPECT_TRUE(absl::IsFailedPrecondition(open(a).status())) << options;
    const Descriptor other(::open(folder.file("a").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_FALSE(lock_file(other.get(), "a", false).ok()) << options;
  }
  served.clear();
  EXPECT_TRUE(open(a).ok());
}

// What a store has not answered is late in it, however it was opened since.
TEST_F(Stores, LateRequestsOfAStoreStayKnown) {
  const std::string path = "file:" + file("a");
  ASSERT_EQ(serve({path, "ram:1MiB"}), "");
  const auto before = served;
  block_size = 4096;
  ASSERT_EQ(serve({path + ",direct", "ram:1MiB", "ram:2MiB"}), "");
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_NE(served[i].volume, before[i].volume);
    EXPECT_EQ(&served[i].volume->late(), &before[i].volume->late());
  }
  EXPECT_NE(&served[0].volume->late(), &served[2].volume->late());
}

TEST_F(Stores, MemoryKeepsItsBytesUnderAnotherBlockSize) {
  ASSERT_EQ(serve({"ram:1MiB,name=m", "ram:2MiB"}), "");
  mark(0) = std::byte{7};
  mark(1) = std::byte{8};
  block_size = 4096;
  ASSERT_EQ(serve({"ram:2MiB", "ram:1MiB,name=m"}), "");
  EXPECT_EQ(mark(0), std::byte{8});
  EXPECT_EQ(mark(1), std::byte{7});
  EXPECT_EQ(served[1].volume->geometry().block_size, 4096u);
  EXPECT_THAT(serve({"ram:2MiB", "ram:4MiB,name=m"}), HasSubstr("memory keeps its kind and size"));
  EXPECT_EQ(mark(1), std::byte{7});
}

TEST_F(Stores, MemoryWithoutANameBelongsToItsPlace) {
  ASSERT_EQ(serve({"ram:1MiB", "ram:2MiB", "ram:1MiB"}), "");
  mark(0) = std::byte{1};
  mark(1) = std::byte{2};
  mark(2) = std::byte{3};
  const Uuid second = uuid_of(served[1].volume->identity());
  EXPECT_NE(uuid_of(served[0].volume->identity()), uuid_of(served[2].volume->identity()));
  // The first of two that look alike, or the second? Only a number identifies it.
  EXPECT_THAT(serve({"ram:2MiB", "ram:1MiB"}), HasSubstr("it is not known which of them stay"));
  ASSERT_EQ(serve({"1 ram:2MiB", "3 ram:1MiB"}), "");
  EXPECT_EQ(mark(0), std::byte{2}) << "its own bytes at another number";
  EXPECT_EQ(uuid_of(served[0].volume->identity()), second);
  EXPECT_EQ(mark(1), std::byte{3});
  // What is written alike to the last option is nobody else's.
  ASSERT_EQ(serve({"ram:2MiB", "ram:1MiB", "ram:1MiB,bs=4096"}), "");
  EXPECT_EQ(mark(1), std::byte{3});
  ASSERT_EQ(serve({"ram:1MiB"}), "");
  EXPECT_EQ(mark(0), std::byte{3});
  // A new one comes last; one of another parent is another one.
  ASSERT_EQ(serve({"ram:1MiB", "ram:1MiB"}), "");
  EXPECT_EQ(mark(0), std::byte{3});
  EXPECT_EQ(mark(1), std::byte{0});
  ASSERT_EQ(serve_all(wanted({"ram:1MiB"}, "another")), "");
  EXPECT_EQ(mark(0), std::byte{0});
}

TEST_F(Stores, MemoryWithoutANameKeepsItsSize) {
  ASSERT_EQ(serve({"ram:1MiB", "2 ram:2MiB"}), "");
  mark(0) = std::byte{1};
  mark(1) = std::byte{2};
  EXPECT_THAT(serve({"ram:4MiB", "2 ram:2MiB"}), HasSubstr("keeps its size"));
  EXPECT_THAT(serve({"ram:1MiB", "2 ram:4MiB"}), HasSubstr("here as ram:2MiB"));
  EXPECT_EQ(mark(0), std::byte{1});
  EXPECT_EQ(mark(1), std::byte{2});
  // Elsewhere it is new memory; taken out it may go.
  ASSERT_EQ(serve({"2 ram:2MiB", "3 ram:4MiB"}), "");
  EXPECT_EQ(mark(0), std::byte{2});
  ASSERT_EQ(serve({"1 null:1MiB"}), "");
}

TEST_F(Stores, AFileThatWasReplacedIsAnotherStore) {
  const std::string a = "file:" + file("a");
  ASSERT_EQ(serve({a}), "");
  const std::shared_ptr<Volume> before = served[0].volume;
  file("new", 2 << 20);
  std::filesystem::rename(folder.file("new"), folder.file("a"));
  ASSERT_EQ(serve({a}), "");
  EXPECT_NE(served[0].volume, before);
  EXPECT_EQ(served[0].volume->geometry().bytes(), 2u << 20);
  EXPECT_NE(uuid_of(served[0].volume->identity()), uuid_of(before->identity()));
}

TEST_F(Stores, SizesAreReadAgain) {
  const std::string path = file("a"), a = "file:" + path;
  ASSERT_EQ(serve({a}), "");
  std::filesystem::resize_file(path, 3 << 20);
  ASSERT_EQ(serve({a}), "");
  EXPECT_EQ(served[0].volume->geometry().bytes(), 3u << 20);
  ASSERT_EQ(serve({a + ",size=4MiB"}), "");
  EXPECT_EQ(served[0].volume->geometry().bytes(), 4u << 20);
  EXPECT_THAT(serve({a + ",size=2MiB"}), HasSubstr(", more than size="));
  std::filesystem::resize_file(path, 1 << 20);
  ASSERT_EQ(serve({a + ",size=4MiB"}), "") << "not made longer again";
  EXPECT_EQ(served[0].volume->geometry().bytes(), 1u << 20);
}

TEST_F(Stores, AFailureChangesNothing) {
  const std::string a = "file:" + file("a");
  ASSERT_EQ(serve({a, "ram:1MiB"}), "");
  const auto before = served;
  EXPECT_THAT(serve({a + ",ro", "ram:1MiB", "file:/nowhere/b"}), HasSubstr("/nowhere/b"));
  EXPECT_THAT(serve({a + ",size=8MiB", "file:/nowhere/b"}), HasSubstr("nqn 2, file:/nowhere/b: "));
  EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 1u << 20);
  EXPECT_EQ(served[0].volume, before[0].volume);
  const Descriptor other(::open(folder.file("a").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(lock_file(other.get(), "a", false).ok()) << "still locked";
}

TEST_F(Stores, ARefusedConfigurationLeavesFilesAsTheyWere) {
  const std::string a = "file:" + file("a"), made = folder.file("made");
  ASSERT_EQ(serve({a}), "");
  const std::string sized = a + ",size=8MiB", fresh = "file:" + made + ",size=2MiB";
  EXPECT_THAT(serve({fresh, sized, "file:" + folder.file("no") + ",size=9000000TiB"}),
              HasSubstr("cannot be made 9"));
  EXPECT_THAT(serve({fresh, sized, "file:/nowhere/b,size=1MiB"}), HasSubstr("/nowhere/b"));
  EXPECT_THAT(serve({fresh, sized, "file:" + folder.file("c")}), HasSubstr("does not exist"));
  EXPECT_FALSE(std::filesystem::exists(made));
  EXPECT_FALSE(std::filesystem::exists(folder.file("no")));
  EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 1u << 20);
  {
    Growth growth;  // refused after all stores were opened
    ASSERT_TRUE(open_stores(wanted({fresh, sized}), served, open, growth).ok());
    EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 1u << 20);
    ASSERT_EQ(growth.apply(), absl::OkStatus());
    EXPECT_EQ(std::filesystem::file_size(made), 2u << 20);
  }
  EXPECT_FALSE(std::filesystem::exists(made));
  EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 1u << 20);
  ASSERT_EQ(serve({fresh, sized}), "");
  EXPECT_EQ(std::filesystem::file_size(made), 2u << 20);
  EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 8u << 20);
}

TEST_F(Stores, AStoreThatIsAboutToEndIsWaitedFor) {
  for (const std::string& text : {"file:" + file("a"), std::string("ram:1MiB,name=m")}) {
    ASSERT_EQ(serve({text}), "");
    auto leaving = std::move(served[0].volume);
    served.clear();
    EXPECT_THAT(why_not(text), HasSubstr("this process serves the same store already"));
    std::thread commands([&leaving] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      leaving.reset();
    });
    EXPECT_EQ(serve({text}), "");
    commands.join();
    served.clear();
  }
}

TEST_F(Stores, AStoreThatDoesNotEndIsNamed) {
  const std::string a = "file:" + file("a");
  ASSERT_EQ(serve({a + ",bs=4096"}), "");
  const auto leaving = std::move(served[0].volume);
  served.clear();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(serve({a}), HasSubstr(a + ": the store was served as " + a +
                                    ",bs=4096 until now and is still in use 3 s later"));
  EXPECT_GE(std::chrono::steady_clock::now() - began, kLeavingPatience);
  EXPECT_TRUE(served.empty());
}

TEST_F(Stores, AReaderKeepsItsLockWhenItIsNotReplacedByAWriter) {
  const std::string a = "file:" + file("a");
  ASSERT_EQ(serve({a + ",ro"}), "");
  EXPECT_THAT(serve({a, "file:/nowhere/b"}), HasSubstr("/nowhere/b"));
  const Descriptor other(::open(folder.file("a").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(lock_file(other.get(), "a", false).ok()) << "a writer beside a reader";
  EXPECT_TRUE(eventually([&] { return lock_file(other.get(), "a", true).ok(); }));
  unlock_file(other.get());
  ASSERT_EQ(serve({a}), "");
  EXPECT_FALSE(lock_file(other.get(), "a", true).ok()) << "a reader beside a writer";
}

TEST_F(Stores, AStoreIsServedOnceUnlessItIsOnlyRead) {
  const std::string path = file("a"), a = "file:" + path;
  std::filesystem::create_hard_link(path, folder.file("b"));
  const std::string b = "file:" + folder.file("b");
  EXPECT_THAT(serve({a, b + ",ro"}), HasSubstr("nqn 2, " + b + ",ro: is the store that nqn 1"));
  ASSERT_EQ(serve({a + ",ro", b + ",ro"}), "");
  EXPECT_THAT(serve({a, b + ",ro"}), HasSubstr("serve it once"));
  ASSERT_EQ(serve({b}), "");
  ASSERT_EQ(serve({a + ",ro", b + ",ro"}), "");
}

TEST_F(Stores, OneThatIsReadTwiceHasTwoNames) {
  const std::string a = "file:" + file("a") + ",ro";
  std::vector<WantedStore> twice = wanted({a, a});
  EXPECT_TRUE(check_stores(twice).ok());
  for (WantedStore& each : twice) each.named = false;
  EXPECT_THAT(std::string(check_stores(twice).message()),
              HasSubstr("serve it once, or one of them with a \"uuid\" of its own"));
  twice[1].spec.resize(twice[1].spec.size() - 3);
  EXPECT_THAT(std::string(check_stores(twice).message()),
              HasSubstr("or both times with \",ro\" and one of them with a \"uuid\" of its own"));
  twice[1].spec = a;
  twice[1].apart = "another target";
  EXPECT_TRUE(check_stores(twice).ok());
}

TEST(Uuid, IsReadAndWritten) {
  const char* const text = "0a1b2c3d-0000-4000-8000-0000000000fe";
  const auto uuid = parse_uuid(text);
  ASSERT_TRUE(uuid.ok()) << uuid.status();
  EXPECT_EQ((*uuid)[0], 0x0a);
  EXPECT_EQ(format_uuid(*uuid), text);
  for (const char* bad : {"", "0a1b2c3d", "0a1b2c3d-0000-4000-8000-0000000000fg",
                          "00000000-0000-0000-0000-000000000000"}) {
    EXPECT_THAT(std::string(parse_uuid(bad).status().message()), HasSubstr("is not a UUID; write"));
  }
}

TEST_F(Stores, TheCheckReportsWhatOpeningWouldAndOpensNothing) {
  const std::string disk = file("disk");
  const auto refusal = [this](const std::vector<std::string>& texts) {
    const auto stores = wanted(texts);
    Growth growth;
    const std::string check(check_stores(stores).message());
    EXPECT_EQ(check, std::string(open_stores(stores, {}, open, growth).status().message()));
    return check;
  };
  EXPECT_EQ(refusal({"file:" + disk, "ram:1MiB", "ram:1MiB"}), "");
  EXPECT_THAT(refusal({"file:" + disk + ",size=512k"}), HasSubstr(", more than size="));
  EXPECT_THAT(refusal({"file:" + disk + ",ro,size=2MiB"}), HasSubstr("cannot extend it"));
  EXPECT_THAT(refusal({"file:" + folder.file("none")}), HasSubstr("does not exist; add"));
  EXPECT_THAT(refusal({"file:" + folder.file(".")}), HasSubstr("is a directory"));
  EXPECT_THAT(refusal({"file:" + disk, "file:" + folder.file("./disk")}),
              HasSubstr("serve it once"));
  EXPECT_THAT(refusal({"ram:1MiB,name=a", "ram:2MiB,name=a"}), HasSubstr("serve it once"));
  EXPECT_THAT(refusal({"file:" + folder.file("new") + ",size=1MiB",
                       "file:" + folder.file("./new") + ",size=1MiB"}),
              HasSubstr("is the store that nqn 1 serves"));
  const std::string made = folder.file("made");
  EXPECT_TRUE(check_stores(wanted({"file:" + made + ",size=1MiB"})).ok());
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(Stores, MoreMemoryThanThereIsIsNamed) {
  EXPECT_EQ(memory_warning(wanted({"ram:1MiB", "ram:1MiB", "null:1TiB"}), 4 << 20), std::nullopt);
  EXPECT_EQ(memory_warning(wanted({"ram:1MiB", "ram:7MiB"}), 4 << 20),
            "stores in memory may need 8MiB, and this machine has 4MiB; make them smaller, or the "
            "system ends this process once they fill up");
  EXPECT_NE(memory_warning(wanted({"ram:15000PiB", "ram:15000PiB"}), 4 << 20), std::nullopt);
  EXPECT_GT(physical_memory(), uint64_t{1} << 26);
}

TEST(Uuid, FollowsTheStore) {
  EXPECT_EQ(uuid_of(StoreIdentity::named("a")), uuid_of(StoreIdentity::named("a")));
  EXPECT_NE(uuid_of(StoreIdentity::named("a")), uuid_of(StoreIdentity::named("b")));
  EXPECT_NE(uuid_of(StoreIdentity::unnamed()), uuid_of(StoreIdentity::unnamed()));
  EXPECT_EQ(format_uuid(derive_uuid("x"))[14], '8') << "version 8";
  const StoreIdentity named = StoreIdentity::named("a"), unnamed = StoreIdentity::unnamed();
  EXPECT_EQ(describe(uuid_of(named), named), "UUID " + format_uuid(uuid_of(named)));
  EXPECT_THAT(describe(uuid_of(unnamed), unnamed), HasSubstr(", another after a restart"));
  EXPECT_EQ(describe(uuid_of(named), unnamed), "UUID " + format_uuid(uuid_of(named))) << "given";
}

}  // namespace
}  // namespace mrpool::storage
