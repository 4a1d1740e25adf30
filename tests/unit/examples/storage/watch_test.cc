// What is noticed of stores while nobody asks.
#include "examples/storage/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "examples/storage/wrapper.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Watch : public testing::Test {
 protected:
  Watch() { std::ofstream(path).close(); }
  std::shared_ptr<Volume> serve(uint64_t bytes) {
    std::filesystem::resize_file(path, bytes);
    auto volume = open("file:" + path);
    EXPECT_TRUE(volume.ok()) << volume.status();
    return *volume;
  }
  TempDir folder;
  const std::string path = folder.file("disk");
  StoreLook look;
};

TEST_F(Watch, AChangedSizeIsReportedOnce) {
  const std::shared_ptr<Volume> stores[] = {serve(1 << 20)};
  EXPECT_THAT(look.look(stores), IsEmpty());
  std::filesystem::resize_file(path, 2 << 20);
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr(": grew from 1048576 to 2097152 bytes")));
  EXPECT_EQ(stores[0]->geometry().bytes(), 2u << 20);
  EXPECT_THAT(look.look(stores), IsEmpty());
  std::filesystem::resize_file(path, 4096);
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr(": shrank from 2097152 to 4096 bytes")));
  EXPECT_EQ(stores[0]->geometry().bytes(), 4096u);
  // A change that another program requested is reported too.
  std::filesystem::resize_file(path, 8192);
  EXPECT_TRUE(stores[0]->refresh(0).ok());
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr("grew from 4096 to 8192")));
}

TEST_F(Watch, AMissingFileIsReportedOnce) {
  const std::shared_ptr<Volume> stores[] = {serve(1 << 20)};
  std::filesystem::rename(path, path + ".away");
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr("No such file or directory; SIGHUP")));
  EXPECT_THAT(look.look(stores), IsEmpty());
  std::ofstream(path).close();
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr("was replaced: what is being served is")));
  std::filesystem::rename(path + ".away", path);
  EXPECT_THAT(look.look(stores), ElementsAre(HasSubstr("in its place again")));
}

// A store whose file system does not answer.
class Hung final : public VolumeWrapper {
 public:
  using VolumeWrapper::VolumeWrapper;
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override {
    return inner().open_channel(reactor);
  }
  absl::Status still_there() const override {
    std::unique_lock lock(mutex);
    asked = true;
    changed.notify_all();
    changed.wait(lock, [this] { return answers; });
    return absl::OkStatus();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return asked; });
  }
  void answer() {
    const std::lock_guard lock(mutex);
    answers = true;
    changed.notify_all();
  }
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  mutable bool asked = false;
  bool answers = false;
};

TEST_F(Watch, AStoreThatHangsDoesNotHoldUpTheEnd) {
  const auto hung = std::make_shared<Hung>(serve(1 << 20));
  int reports = 0;
  {
    const StoreWatch watch(
        std::chrono::milliseconds(1), [&] { return std::vector<std::shared_ptr<Volume>>{hung}; },
        [&](std::span<const std::string>) { ++reports; });
    hung->wait();
  }
  hung->answer();
  EXPECT_EQ(reports, 0);
}

TEST_F(Watch, LooksAgainAndAgain) {
  const std::shared_ptr<Volume> volume = serve(1 << 20);
  std::mutex mutex;
  std::condition_variable changed;
  std::string said;
  int rounds = 0;
  const StoreWatch watch(
      std::chrono::milliseconds(1), [&] { return std::vector<std::shared_ptr<Volume>>{volume}; },
      [&](std::span<const std::string> lines) {
        const std::lock_guard lock(mutex);
        for (const std::string& line : lines) said += line;
        ++rounds;
        changed.notify_all();
      });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return rounds > 0; });
  std::filesystem::resize_file(path, 2 << 20);
  changed.wait(lock, [&] { return !said.empty(); });
  EXPECT_THAT(said, HasSubstr("grew"));
}

}  // namespace
}  // namespace mrpool::storage
