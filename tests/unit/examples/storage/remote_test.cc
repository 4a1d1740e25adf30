// Volumes that a plugin serves, with a plugin that is played: its images are memory here, and it
// answers from a thread of its own, as the library of a cluster does.
#include "examples/storage/remote.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "examples/storage/stores.h"
#include "examples/storage/uuid.h"
#include "examples/storage/watch.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kBytes = 1 << 20;

// The cluster that the plugin reaches: one image.
class Cluster {
 public:
  static Cluster* now;  // the table has no place for it

  Cluster() : memory(kBytes), thread_([this] { run(); }) { now = this; }
  ~Cluster() {
    EXPECT_TRUE(wait_for_closed_images(std::chrono::seconds(60)));
    EXPECT_EQ(open_images, 0);
    {
      const std::lock_guard lock(mutex);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void resize(uint64_t bytes) {
    RemoteEvents told;
    {
      const std::lock_guard lock(mutex);
      memory.resize(bytes);
      told = events;
    }
    told.resized(told.owner, bytes);
  }
  void push(RemoteRequest& request) {
    {
      const std::lock_guard lock(mutex);
      requests_.push_back(&request);
    }
    changed_.notify_all();
  }
  std::vector<RemoteOp> take_done() {
    const std::lock_guard lock(mutex);
    return std::exchange(done, {});
  }

  std::mutex mutex;
  std::vector<std::byte> memory;
  RemoteInfo info{.bytes = kBytes,
                  .identity = "rbd:cluster:1:image",
                  .world_wide = true,
                  .read_only = false,
                  .volatile_cache = false,
                  .deallocate = true,
                  .zeroes = true};
  RemoteEvents events{};
  std::vector<RemoteOp> done;
  int64_t fails = 0;  // a negative errno for every request
  int refuses = 0;    // the same for submit()
  int open_fails = 0;
  bool huge = false;  // zeroes are not written, since there is less memory than bytes
  int open_images = 0;
  int yields = 0;
  int opened = 0;

 private:
  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || !requests_.empty(); });
      if (requests_.empty()) return;
      RemoteRequest& request = *requests_.front();
      requests_.pop_front();
      const int64_t result = fails != 0 ? fails : serve(request);
      done.push_back(request.op);
      lock.unlock();
      request.done(request, result);
      lock.lock();
    }
  }
  int64_t serve(const RemoteRequest& request) {
    const bool reads = request.op == RemoteOp::kRead;
    if (request.op == RemoteOp::kFlush) return 0;
    if (!reads && request.op != RemoteOp::kWrite) {
      if (!huge) std::fill_n(memory.data() + request.offset, request.length, std::byte{});
      return 0;
    }
    uint64_t at = request.offset;
    for (uint32_t i = 0; i < request.buffer_count; ++i) {
      const iovec& v = request.buffers[i];
      if (at + v.iov_len > memory.size()) return reads ? int64_t(at - request.offset) : -EINVAL;
      std::byte* const there = memory.data() + at;
      if (reads) {
        std::memcpy(v.iov_base, there, v.iov_len);
      } else {
        std::memcpy(there, v.iov_base, v.iov_len);
      }
      at += v.iov_len;
    }
    return int64_t(at - request.offset);
  }

  std::condition_variable changed_;
  std::deque<RemoteRequest*> requests_;
  bool stop_ = false;
  std::thread thread_;
};
Cluster* Cluster::now = nullptr;

constexpr RemoteApi kApi{
    .version = kRemoteApiVersion,
    .open =
        [](const RemoteAddress&, const RemoteEvents& events, void** image, RemoteInfo* info,
           char* error, size_t error_size) {
          Cluster& cluster = *Cluster::now;
          const std::lock_guard lock(cluster.mutex);
          ++cluster.opened;
          if (cluster.open_fails != 0) {
            set_error(error, error_size, "there is no image; make one");
            return cluster.open_fails;
          }
          ++cluster.open_images;
          cluster.events = events;
          *info = cluster.info;
          *image = &cluster;
          return 0;
        },
    .close =
        [](void* image) {
          auto& cluster = *static_cast<Cluster*>(image);
          const std::lock_guard lock(cluster.mutex);
          --cluster.open_images;
        },
    .submit =
        [](void* image, RemoteRequest& request) {
          auto& cluster = *static_cast<Cluster*>(image);
          {
            const std::lock_guard lock(cluster.mutex);
            if (cluster.refuses != 0) return cluster.refuses;
          }
          cluster.push(request);
          return 0;
        },
    .fenced = nullptr,
    .yield = [](void* image) { ++static_cast<Cluster*>(image)->yields; },
    .records = nullptr,
};

absl::StatusOr<std::shared_ptr<Volume>> open_played(std::string_view text,
                                                    const OpenOptions& options) {
  absl::StatusOr<StoreSpec> parsed = parse_spec(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return open_remote({*std::move(parsed), std::string(text), options.block_size, options.replaces,
                      options.others_leave, options.growth},
                     kApi);
}

class Remote : public testing::Test {
 protected:
  void open(std::string_view text = "rbd:pool/image") {
    auto volume = open_played(text, {});
    ASSERT_TRUE(volume.ok()) << volume.status();
    volume_ = *volume;
    channel_ = std::move(*volume_->open_channel(*reactor_));
  }
  std::string why_not(std::string_view text) {
    const auto volume = open_played(text, {});
    return volume.ok() ? std::string() : std::string(volume.status().message());
  }
  Error run(Request&& request) { return request.run(*channel_, *reactor_); }

  Cluster cluster_;  // ends last: its images are closed
  std::unique_ptr<Reactor> reactor_ = std::move(*Reactor::create());
  std::shared_ptr<Volume> volume_;
  std::unique_ptr<Channel> channel_;
};

TEST_F(Remote, ScatterListsGoBothWays) {
  open();
  Request write(Op::kWrite, 8192, 64 << 10, 16);
  write.fill(1);
  EXPECT_EQ(write.run(*channel_, *reactor_), Error::kNone);
  Request read(Op::kRead, 8192, 64 << 10, 4);
  EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
  EXPECT_EQ(read.bytes(), write.bytes());
  EXPECT_EQ(channel_->pending(), 0u);
  EXPECT_EQ(run(Request(Op::kWriteZeroes, 8192, 4096)), Error::kNone);
  EXPECT_EQ(run(Request(Op::kDeallocate, 12288, 4096)), Error::kNone);
  Request zeroes(Op::kRead, 8192, 8192);
  EXPECT_EQ(zeroes.run(*channel_, *reactor_), Error::kNone);
  EXPECT_EQ(zeroes.bytes(), std::string(8192, '\0'));
  EXPECT_EQ(run(Request(Op::kRead, kBytes, 4096)), Error::kOutOfRange);
  EXPECT_EQ(run(Request(Op::kHold, 0, 4096)), Error::kUnsupported);
}

TEST_F(Remote, YieldReachesTheImage) {
  open();
  volume_->yield();
  EXPECT_EQ(cluster_.yields, 1);
  EXPECT_FALSE(volume_->fenced());
}

TEST_F(Remote, ManyAreUnderWayAtOnce) {
  open();
  std::vector<std::unique_ptr<Request>> writes;
  for (uint64_t i = 0; i < 128; ++i) {
    writes.push_back(std::make_unique<Request>(Op::kWrite, i * 4096, 4096));
    writes.back()->fill(i);
    EXPECT_FALSE(channel_->submit(*writes.back()));
  }
  EXPECT_EQ(channel_->pending(), 128u);
  EXPECT_TRUE(eventually([&] {
    reactor_->poll();
    return channel_->pending() == 0;
  }));
  for (const auto& write : writes) {
    Request read(Op::kRead, write->offset, 4096);
    EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
    EXPECT_EQ(read.bytes(), write->bytes());
  }
}

TEST_F(Remote, LongZeroesAreDivided) {
  cluster_.info.bytes = uint64_t{5} << 30;
  cluster_.huge = true;
  open();
  EXPECT_EQ(run(Request(Op::kDeallocate, 0, 0)), Error::kNone);
  EXPECT_THAT(cluster_.take_done(), ElementsAre());
  for (const Op op : {Op::kWriteZeroes, Op::kDeallocate}) {
    Request request(op, 4096, 0);
    request.length = (uint64_t{2} << 30) + 4096;
    EXPECT_EQ(request.run(*channel_, *reactor_), Error::kNone);
    EXPECT_EQ(cluster_.take_done().size(), 3u);
  }
}

TEST_F(Remote, AWriteThatHasToBeDurableIsFlushedWhereThereIsACache) {
  for (const bool cache : {false, true}) {
    SCOPED_TRACE(cache);
    channel_ = nullptr;
    volume_ = nullptr;
    EXPECT_TRUE(wait_for_closed_images(std::chrono::seconds(60)));
    cluster_.info.volatile_cache = cache;
    open();
    EXPECT_EQ(volume_->geometry().volatile_cache, cache);
    Request write(Op::kWrite, 0, 4096);
    write.fua = true;
    EXPECT_EQ(write.run(*channel_, *reactor_), Error::kNone);
    if (cache) {
      EXPECT_THAT(cluster_.take_done(), ElementsAre(RemoteOp::kWrite, RemoteOp::kFlush));
    } else {
      EXPECT_THAT(cluster_.take_done(), ElementsAre(RemoteOp::kWrite));
    }
    EXPECT_EQ(run(Request(Op::kFlush, 0, 0)), Error::kNone);
    EXPECT_THAT(cluster_.take_done(), ElementsAre(RemoteOp::kFlush));
  }
}

TEST_F(Remote, ErrorsNameTheirCause) {
  open();
  const std::pair<int, Error> kinds[] = {
      {EIO, Error::kMediaWrite},        {ENOSPC, Error::kNoSpace},
      {EROFS, Error::kReadOnly},        {ETIMEDOUT, Error::kInaccessible},
      {ENOTCONN, Error::kInaccessible}, {ENOMEM, Error::kInternal},
      {EDQUOT, Error::kNoSpace},        {EINVAL, Error::kOutOfRange}};
  for (const auto& [number, error] : kinds) {
    SCOPED_TRACE(number);
    cluster_.fails = -number;
    EXPECT_EQ(run(Request(Op::kWrite, 0, 4096)), error);
    // The same where it is not taken; but never from inside submit().
    cluster_.fails = 0;
    cluster_.refuses = -number;
    Request refused(Op::kWrite, 0, 4096);
    EXPECT_FALSE(channel_->submit(refused));
    EXPECT_FALSE(refused.finished);
    while (!refused.finished) reactor_->poll();
    EXPECT_EQ(refused.error, error);
    cluster_.refuses = 0;
  }
  EXPECT_EQ(channel_->take_trouble().errors, 2 * std::size(kinds));
  EXPECT_FALSE(volume_->fenced());
  EXPECT_EQ(run(Request(Op::kWrite, 0, 4096)), Error::kNone);
}

TEST_F(Remote, AFencedClientHasNoAccessUntilItIsReopened) {
  open();
  EXPECT_TRUE(volume_->still_there().ok());
  cluster_.fails = -ESHUTDOWN;
  EXPECT_EQ(run(Request(Op::kRead, 0, 4096)), Error::kInaccessible);
  cluster_.fails = 0;
  cluster_.take_done();
  EXPECT_EQ(run(Request(Op::kWrite, 0, 4096)), Error::kInaccessible);
  EXPECT_THAT(cluster_.take_done(), ElementsAre());
  EXPECT_THAT(volume_->still_there().message(), HasSubstr("has fenced this client"));

  const WantedStore wanted[] = {{.spec = "rbd:pool/image", .parent = "disk", .place = "unit 0"}};
  const ServedStore served[] = {{.volume = volume_, .parent = "disk", .place = "unit 0"}};
  Growth growth;
  const auto again = open_stores(wanted, served, &open_played, growth);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_NE((*again)[0], volume_);
  EXPECT_EQ((*again)[0]->identity(), volume_->identity());
  channel_ = std::move(*(*again)[0]->open_channel(*reactor_));
  volume_ = (*again)[0];
  EXPECT_EQ(run(Request(Op::kWrite, 0, 4096)), Error::kNone);
}

TEST_F(Remote, AReloadKnowsTheImageByItsAddress) {
  open("rbd:pool/image,conf=/c,id=a");
  const ServedStore served[] = {{.volume = volume_, .parent = "disk", .place = "unit 0"}};
  Growth growth;
  const auto open_again = [&](const char* text) {
    const WantedStore wanted[] = {{.spec = text, .parent = "disk", .place = "unit 0"}};
    auto volumes = open_stores(wanted, served, &open_played, growth);
    EXPECT_TRUE(volumes.ok()) << volumes.status();
    return volumes.ok() ? (*volumes)[0] : nullptr;
  };
  EXPECT_EQ(open_again("rbd:pool/image,id=a,conf=/c"), volume_);
  EXPECT_EQ(cluster_.opened, 1);
  // Other options: another volume on the same image, with what is late there.
  const auto reads = open_again("rbd:pool/image,conf=/c,id=a,ro");
  EXPECT_NE(reads, volume_);
  EXPECT_TRUE(reads->geometry().read_only);
  EXPECT_EQ(&reads->late(), &volume_->late());

  const WantedStore twice[] = {{.spec = "rbd:pool/image", .parent = "a", .place = "unit 0"},
                               {.spec = "rbd:pool/image", .parent = "b", .place = "unit 0"}};
  EXPECT_THAT(open_stores(twice, {}, &open_played, growth).status().message(),
              HasSubstr("is the store that a unit 0 serves"));
}

TEST_F(Remote, OneImageIsServedOnceWhateverItsAddress) {
  open();
  EXPECT_THAT(why_not("rbd:pool/image,conf=/other"), HasSubstr("serves the same store already"));
  EXPECT_EQ(volume_->identity().text(), "rbd:cluster:1:image");
  EXPECT_TRUE(volume_->identity().stable());
  EXPECT_TRUE(volume_->identity().world_wide());
  EXPECT_EQ(uuid_of(volume_->identity()), derive_uuid("rbd:cluster:1:image"));
}

TEST_F(Remote, ASizeThatOthersChangeIsSeenAtOnce) {
  open();
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> lines;
  size_t looks = 0;
  const StoreWatch watch(
      std::chrono::hours(24), [this] { return std::vector{volume_}; },
      [&](std::span<const std::string> told) {
        const std::lock_guard lock(mutex);
        ++looks;
        lines.insert(lines.end(), told.begin(), told.end());
        changed.notify_all();
      });
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return looks != 0; });
  }
  cluster_.resize(2 * kBytes);
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return !lines.empty(); });
    EXPECT_THAT(lines, ElementsAre(HasSubstr("grew from 1048576 to 2097152 bytes")));
  }
  EXPECT_EQ(volume_->geometry().bytes(), 2 * kBytes);
  EXPECT_EQ(run(Request(Op::kWrite, kBytes, 4096)), Error::kNone);
  cluster_.resize(4096);
  EXPECT_EQ(run(Request(Op::kRead, kBytes, 4096)), Error::kOutOfRange);
  EXPECT_THAT(volume_->refresh(8192).status().message(), HasSubstr("made larger where it lies"));
}

TEST_F(Remote, ARequestThatAResizeOvertakesIsOutOfRange) {
  open();
  {  // before anybody is told
    const std::lock_guard lock(cluster_.mutex);
    cluster_.memory.resize(8192);
  }
  EXPECT_EQ(run(Request(Op::kRead, 8192, 4096)), Error::kOutOfRange);
  EXPECT_EQ(run(Request(Op::kWrite, 8192, 4096)), Error::kOutOfRange);
  EXPECT_EQ(run(Request(Op::kRead, 4096, 4096)), Error::kNone);
}

TEST_F(Remote, ReadersOfAnImage) {
  open("rbd:pool/image,ro");
  EXPECT_TRUE(volume_->geometry().read_only);
  EXPECT_EQ(run(Request(Op::kWrite, 0, 4096)), Error::kReadOnly);
  EXPECT_EQ(run(Request(Op::kFlush, 0, 0)), Error::kNone);
  EXPECT_EQ(why_not("rbd:pool/image,ro,conf=/other"), "");
  EXPECT_THAT(why_not("rbd:pool/image"), HasSubstr("serves the same store already"));
  cluster_.info.identity[0] = 'R';  // another
  const auto snapshot = open_played("rbd:pool/image,snap=s", {});
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_TRUE((*snapshot)->geometry().read_only);
}

TEST_F(Remote, WhatCannotBeServedIsRefused) {
  cluster_.open_fails = -ENOENT;
  EXPECT_EQ(open_played("rbd:pool/image", {}).status(),
            absl::NotFoundError("rbd:pool/image: there is no image; make one"));
  cluster_.open_fails = 0;
  cluster_.info.bytes = 0;
  EXPECT_THAT(why_not("rbd:pool/image"), HasSubstr("is empty"));
  cluster_.info.bytes = 4096 + 512;
  EXPECT_THAT(why_not("rbd:pool/image"), HasSubstr("not a whole number of 4096-byte blocks"));
  cluster_.info.bytes = 8192;
  cluster_.info.read_only = true;
  EXPECT_THAT(why_not("rbd:pool/image"), HasSubstr("add \",ro\""));
}

TEST(RbdAddress, IsCheckedByItsText) {
  for (const char* text : {"rbd:pool/image", "rbd:pool/image,conf=/c,id=a,namespace=n,snap=s,ro"}) {
    EXPECT_TRUE(check(text).ok()) << check(text);
  }
  for (const char* text : {"rbd:", "rbd:image", "rbd:/image", "rbd:pool/"}) {
    EXPECT_THAT(check(text).message(), HasSubstr("write rbd:POOL/IMAGE")) << text;
  }
  EXPECT_THAT(check("rbd:pool/space/image").message(), HasSubstr("namespace=NAME"));
  EXPECT_THAT(check("rbd:pool/image@snapshot").message(), HasSubstr("snap=NAME"));
  EXPECT_THAT(check("rbd:pool/image,id=").message(), HasSubstr("id= has no value"));
  EXPECT_THAT(check("rbd:pool/image,direct").message(), HasSubstr("is not known for rbd"));
}

}  // namespace
}  // namespace mrpool::storage
