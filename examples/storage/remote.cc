#include "examples/storage/remote.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/block_signals.h"
#include "examples/storage/claim.h"
#include "examples/storage/helper_queue.h"
#include "examples/storage/io_util.h"
#include "examples/storage/outstanding.h"
#include "examples/storage/watch.h"
#include "mrpool/callback.h"

namespace mrpool::storage {
namespace {

// Longer requests to zero or deallocate are divided, because a store may hold a request in memory
// for each of its objects.
constexpr uint64_t kLongestZeroes = 1 << 30;
constexpr std::chrono::seconds kPatienceAtEnd{10};

// Images that threads of their own are closing.
class Closings {
 public:
  void begin() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void end() {
    {
      const std::lock_guard lock(mutex_);
      --count_;
    }
    gone_.notify_all();
  }
  bool wait(std::chrono::nanoseconds patience) {
    std::unique_lock lock(mutex_);
    return gone_.wait_for(lock, patience, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable gone_;
  size_t count_ = 0;
};
// Never destroyed: threads may end after main().
Closings& closings() {
  static Closings& all = *new Closings;
  return all;
}

// An image that is not closed keeps its locks in the cluster until a time-out there.
void wait_at_end_of_process() {
  static const int registered = std::atexit([] { (void)closings().wait(kPatienceAtEnd); });
  (void)registered;
}

// An open image with what its channels share. Any thread.
class RemoteStore {
 public:
  RemoteStore(std::string spec, const RemoteApi& api, bool read_only)
      : spec_(std::move(spec)), api_(api), read_only_(read_only) {}
  RemoteStore(const RemoteStore&) = delete;
  RemoteStore& operator=(const RemoteStore&) = delete;
  ~RemoteStore() {
    if (image_ != nullptr) api_.close(image_);
  }
  // Ends one that nobody uses any more, elsewhere.
  static void end(RemoteStore* store);

  absl::Status open(const Spec& spec);

  Geometry geometry() const {
    Geometry geometry = geometry_;
    // A number by itself.
    geometry.blocks = bytes_.load(std::memory_order_relaxed) / geometry.block_size;
    return geometry;
  }
  const std::string& spec() const { return spec_; }
  const StoreIdentity& identity() const { return claim_->identity; }
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to);
  // By the store, as a request has shown.
  bool refused() const { return fenced_.load(std::memory_order_relaxed); }
  bool fenced() const {
    return fenced_.load(std::memory_order_relaxed) ||
           (api_.fenced != nullptr && api_.fenced(image_));
  }
  void yield() {
    if (api_.yield != nullptr) api_.yield(image_);
  }
  bool can_deallocate() const { return info_.deallocate; }
  bool can_zero() const { return info_.zeroes; }

  int submit(RemoteRequest& request) { return api_.submit(image_, request); }
  // How a request of a fenced client ends. The first one is reported.
  Error refuse() {
    if (!fenced_.exchange(true, std::memory_order_relaxed)) look_at_stores();
    return Error::kInaccessible;
  }
  // How a request ended that got less than it asked for.
  Error error_of(const Io& io, int64_t result);

 private:
  static void resized(void* owner, uint64_t bytes) {
    auto& self = *static_cast<RemoteStore*>(owner);
    self.bytes_.store(bytes, std::memory_order_relaxed);
    look_at_stores();
  }
  absl::Status claim(const Spec& spec);

  const std::string spec_;
  const RemoteApi& api_;
  const bool read_only_;
  void* image_ = nullptr;
  RemoteInfo info_{};
  Geometry geometry_;
  std::shared_ptr<const Claim> claim_;
  // Set and read by themselves. Relaxed.
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> fenced_{false};
  std::atomic<uint64_t> refreshed_{0};  // blocks, at the last refresh()
};

void RemoteStore::end(RemoteStore* store) {
  if (store->claim_ != nullptr) announce_end(*store->claim_);
  closings().begin();
  const auto close = [store] {
    delete store;
    closings().end();
  };
  try {
    std::thread([close] {
      base::block_signals();
      close();
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had
    close();
  }
}

absl::Status RemoteStore::open(const Spec& spec) {
  wait_at_end_of_process();
  std::vector<RemoteOption> options;
  for (const StoreSpec::Option& option : spec.options) {
    if (option.has_value) options.push_back({option.name.c_str(), option.value.c_str()});
  }
  const RemoteAddress address{.target = spec.target.c_str(),
                              .options = options.data(),
                              .option_count = options.size(),
                              .read_only = read_only_};
  std::array<char, 1024> error{};
  void* image = nullptr;
  const int failed = api_.open(address, {.owner = this, .resized = &resized}, &image, &info_,
                               error.data(), error.size());
  if (failed != 0) {
    return absl::Status(absl::ErrnoToStatusCode(-failed), absl::StrCat(spec_, ": ", error.data()));
  }
  image_ = image;
  // The plugin may have reported a newer size already.
  uint64_t unknown = 0;
  bytes_.compare_exchange_strong(unknown, info_.bytes, std::memory_order_relaxed);
  if (info_.bytes == 0) {
    return absl::InvalidArgumentError(absl::StrCat(spec_, ": is empty; make it larger"));
  }
  if (absl::Status status = whole_blocks(info_.bytes, spec.block_size); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(spec_, ": ", status.message()));
  }
  if (info_.read_only && !read_only_) {
    return absl::FailedPreconditionError(
        absl::StrCat(spec_, ": cannot be written; add \",ro\" to serve it"));
  }
  geometry_ = {.block_size = spec.block_size,
               .blocks = info_.bytes / spec.block_size,
               .volatile_cache = info_.volatile_cache && !read_only_,
               .deallocate = info_.deallocate,
               .read_only = read_only_};
  refreshed_ = geometry_.blocks;
  return claim(spec);
}

absl::Status RemoteStore::claim(const Spec& spec) {
  const StoreIdentity identity = StoreIdentity::remote(escape(info_.identity), info_.world_wide);
  auto claim =
      take_claim({.identity = identity,
                  .spec = spec_,
                  .read_only = read_only_,
                  .takes_over = spec.replaces != nullptr && spec.replaces->identity() == identity,
                  .others_leave = spec.others_leave});
  if (claim.ok()) claim_ = *std::move(claim);
  return claim.status();
}

absl::StatusOr<SizeChange> RemoteStore::refresh(uint64_t grow_to) {
  const uint64_t bytes = bytes_.load(std::memory_order_relaxed);
  if (bytes < grow_to) {
    return absl::FailedPreconditionError(
        absl::StrCat(spec_, " has ", bytes, " bytes and is made larger where it lies; ask for ",
                     bytes, " or less"));
  }
  const uint64_t now = geometry().blocks;
  const uint64_t before = refreshed_.exchange(now, std::memory_order_relaxed);
  if (now == before) return SizeChange::kSame;
  return now > before ? SizeChange::kGrown : SizeChange::kShrunk;
}

Error RemoteStore::error_of(const Io& io, int64_t result) {
  switch (result < 0 ? -result : EINVAL) {
    case ESHUTDOWN:  // this client, for good
      return refuse();
    case ENOTCONN:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
    case ETIMEDOUT:
      return Error::kInaccessible;
    case EINVAL:  // beyond the end, which others have moved
      return io.op == Op::kFlush ? Error::kInternal : Error::kOutOfRange;
    default:
      return from_errno(int(-result), io.op);
  }
}

// One reactor's requests to an image.
class RemoteChannel final : public Channel {
 public:
  RemoteChannel(std::shared_ptr<RemoteStore> store, Reactor& reactor)
      : store_(std::move(store)), reactor_(reactor) {}

  bool submit(Io& io) override;
  void release(Io&) override {}
  uint32_t pending() const override { return outstanding_.count(); }
  Nanoseconds oldest_age(Nanoseconds now) const override { return outstanding_.oldest_age(now); }
  Trouble take_trouble() override { return outstanding_.take_trouble(); }

 private:
  // Lives in the request's scratch space while the plugin has it.
  struct Part : RemoteRequest, Task {
    Part(Io& whole, const RemoteRequest& request)
        : RemoteRequest(request), Task(to_method<&Part::finish>), io(&whole) {}
    void finish() { of(*io).answered(*io, op, result); }
    Io* io;
    int64_t result = 0;
  };
  static_assert(sizeof(Part) <= sizeof Io::scratch);

  static RemoteChannel& of(Io& io) { return *static_cast<RemoteChannel*>(io.owner); }
  static Part& part_of(Io& io) { return *std::launder(reinterpret_cast<Part*>(io.scratch)); }
  // On a thread of the plugin.
  static void done(RemoteRequest& request, int64_t result);

  void start(Io& io);
  void hand_over(Io& io, RemoteOp op, uint64_t offset, uint64_t length);
  void answered(Io& io, RemoteOp op, int64_t result);
  void finished(Io& io);

  const std::shared_ptr<RemoteStore> store_;
  Reactor& reactor_;
  Outstanding outstanding_;
};

bool RemoteChannel::submit(Io& io) {
  const Geometry geometry = store_->geometry();
  io.error = check(geometry, io);
  io.progress = 0;
  io.owner = this;
  if (io.error != Error::kNone) return true;
  switch (io.op) {
    case Op::kFlush:
      if (geometry.read_only) return true;
      break;
    case Op::kDeallocate:
      if (!store_->can_deallocate() || io.length == 0) return true;
      break;
    case Op::kWriteZeroes:
      if (!store_->can_zero()) io.error = Error::kUnsupported;
      [[fallthrough]];
    case Op::kRead:
    case Op::kWrite:
      if (io.length == 0 || io.error != Error::kNone) return true;
      break;
    case Op::kHold:
      io.error = Error::kUnsupported;
      return true;
  }
  if (store_->fenced()) {
    io.error = store_->refuse();
    return true;
  }
  outstanding_.add(io, reactor_.now());
  start(io);
  return false;
}

// The whole request, or the next part of one that is divided.
void RemoteChannel::start(Io& io) {
  switch (io.op) {
    case Op::kRead:
      return hand_over(io, RemoteOp::kRead, io.offset, io.length);
    case Op::kWrite:
      return hand_over(io, RemoteOp::kWrite, io.offset, io.length);
    case Op::kWriteZeroes:
    case Op::kDeallocate:
      return hand_over(io,
                       io.op == Op::kDeallocate ? RemoteOp::kDeallocate : RemoteOp::kWriteZeroes,
                       io.offset + io.progress, std::min(io.length - io.progress, kLongestZeroes));
    case Op::kFlush:
    case Op::kHold:
      return hand_over(io, RemoteOp::kFlush, 0, 0);
  }
}

void RemoteChannel::hand_over(Io& io, RemoteOp op, uint64_t offset, uint64_t length) {
  const bool data = op == RemoteOp::kRead || op == RemoteOp::kWrite;
  auto* part = new (io.scratch) Part(io, {.done = &done,
                                          .image = nullptr,
                                          .buffers = data ? io.buffers.data() : nullptr,
                                          .offset = offset,
                                          .length = length,
                                          .buffer_count = data ? uint32_t(io.buffers.size()) : 0,
                                          .op = op,
                                          .deallocate = io.deallocate});
  const int refused = store_->submit(*part);
  if (refused == 0) return;
  // As if it had been answered: never from inside submit().
  part->result = refused;
  reactor_.post(*part);
}

void RemoteChannel::done(RemoteRequest& request, int64_t result) {
  auto& part = static_cast<Part&>(request);
  part.result = result;
  of(*part.io).reactor_.post(part);
}

void RemoteChannel::answered(Io& io, RemoteOp op, int64_t result) {
  const bool cut = op == RemoteOp::kRead && result >= 0 && uint64_t(result) < io.length;
  if (result < 0 || cut) {
    io.error = store_->error_of(io, result);
    return finished(io);
  }
  if (op == RemoteOp::kFlush) return finished(io);
  io.progress += part_of(io).length;
  if (io.progress < io.length) return start(io);
  const bool durable = (io.op == Op::kWrite || io.op == Op::kWriteZeroes) && io.fua;
  if (durable && store_->geometry().volatile_cache) return hand_over(io, RemoteOp::kFlush, 0, 0);
  finished(io);
}

void RemoteChannel::finished(Io& io) {
  outstanding_.remove(io, reactor_.now());
  io.done(io);
}

class RemoteVolume final : public Volume {
 public:
  explicit RemoteVolume(std::shared_ptr<RemoteStore> store) : store_(std::move(store)) {}
  Geometry geometry() const override { return store_->geometry(); }
  const std::string& spec() const override { return store_->spec(); }
  const StoreIdentity& identity() const override { return store_->identity(); }
  absl::Status still_there() const override {
    if (!store_->refused()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "the cluster has fenced this client: it takes nothing from it any more");
  }
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to) override { return store_->refresh(grow_to); }
  bool fenced() const override { return store_->fenced(); }
  void yield() override { store_->yield(); }
  std::span<std::byte> memory() override { return {}; }
  std::byte* locate(uint64_t, uint64_t) override { return nullptr; }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override {
    return std::make_unique<RemoteChannel>(store_, reactor);
  }

 private:
  const std::shared_ptr<RemoteStore> store_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Volume>> open_remote(const Spec& spec, const RemoteApi& api) {
  const bool read_only = spec.find("ro") != nullptr || spec.find("snap") != nullptr;
  const std::shared_ptr<RemoteStore> store(new RemoteStore(spec.text, api, read_only),
                                           RemoteStore::end);
  if (absl::Status status = store->open(spec); !status.ok()) return status;
  auto volume = std::make_shared<RemoteVolume>(store);
  // Another gateway takes over without the marks of this one.
  if (spec.find("client") != nullptr) volume->set_shared();
  return volume;
}

bool wait_for_closed_images(std::chrono::nanoseconds patience) { return closings().wait(patience); }

}  // namespace mrpool::storage
