// mrpool-rbd.so: images of a Ceph cluster, by librbd, as remote_api.h asks for.
//
// librbd's write-back cache is off. It would acknowledge writes that only this process holds, and a
// host that outlives this process would lose them. So a completed write is on the disks of the
// cluster. Writes are sent from the caller's memory, without a copy.
//
// Thread safety and ownership: as remote_api.h.
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "examples/storage/plugins/rbd_cluster.h"
#include "examples/storage/plugins/rbd_records.h"
#include "examples/storage/remote_api.h"

namespace mrpool::storage {
namespace {

// An image as it is open.
struct Image {
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image();

  std::shared_ptr<Cluster> cluster;  // closed last
  rados_ioctx_t pool = nullptr;
  rbd_image_t image = nullptr;
  bool watched = false;
  uint64_t watch = 0;
  RemoteEvents events{};
};

// A thread that reads the sizes of images that were changed. librbd's own threads must not block.
class Sizes {
 public:
  // Never destroyed: images may be closed after main().
  static Sizes& all() {
    static Sizes& sizes = *new Sizes;
    return sizes;
  }
  void ask(Image& image) {
    {
      const std::lock_guard lock(mutex_);
      if (std::find(asked_.begin(), asked_.end(), &image) != asked_.end()) return;
      asked_.push_back(&image);
    }
    changed_.notify_all();
  }
  // After this call the thread does not use the image.
  void forget(Image& image) {
    std::unique_lock lock(mutex_);
    std::erase(asked_, &image);
    changed_.wait(lock, [&] { return now_ != &image; });
  }

 private:
  Sizes() {
    std::thread([this] { run(); }).detach();
  }
  void run() {
    sigset_t signals;
    sigfillset(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !asked_.empty(); });
      now_ = asked_.front();
      asked_.pop_front();
      lock.unlock();
      uint64_t bytes = 0;
      const int error = rbd_get_size(now_->image, &bytes);
      if (error == 0) now_->events.resized(now_->events.owner, bytes);
      // A fence ends the watch too. It is noted before a write finds it: librbd 16.2 may never
      // complete a write that waits for the exclusive lock of a fenced client.
      if (error == -ESHUTDOWN) now_->cluster->set_fenced();
      lock.lock();
      now_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Image*> asked_;
  Image* now_ = nullptr;
};

Image::~Image() {
  if (watched) rbd_update_unwatch(image, watch);
  if (image != nullptr) {
    Sizes::all().forget(*this);
    rbd_close(image);
  }
  if (pool != nullptr) rados_ioctx_destroy(pool);
}

// An address on its way to an open image. Each step needs the ones before it.
class Opening {
 public:
  Opening(const RemoteAddress& address, const RemoteEvents& events)
      : address_(address), snapshot_(option_of(address, "snap")) {
    opened_->events = events;
    const std::string_view target = address.target;
    const size_t slash = target.find('/');
    pool_ = target.substr(0, slash);
    name_ = slash == target.npos ? "" : target.substr(slash + 1);
  }

  Failure run(RemoteInfo& info) {
    for (const auto step :
         {&Opening::connect, &Opening::open_pool, &Opening::open_image, &Opening::check_lock,
          &Opening::check_mirror, &Opening::check_cache, &Opening::watch}) {
      if (Failure failed = (this->*step)()) return noted(std::move(failed));
    }
    return noted(describe(info));
  }
  Image* take() { return opened_.release(); }

 private:
  bool writes() const { return !address_.read_only; }
  Failure noted(Failure failed) {
    if (failed.error == -ESHUTDOWN) opened_->cluster->set_fenced();
    return failed;
  }
  Failure connect();
  Failure open_pool();
  Failure open_image();
  Failure check_lock();
  Failure check_mirror();
  Failure check_cache();
  Failure watch();
  Failure describe(RemoteInfo& info);

  const RemoteAddress& address_;
  const char* const snapshot_;
  std::string pool_;
  std::string name_;
  std::unique_ptr<Image> opened_ = std::make_unique<Image>();
};

Failure Opening::connect() {
  Failure failed;
  const char* client = option_of(address_, "client");
  opened_->cluster = Cluster::of(way_of(address_), client == nullptr ? "" : client, failed);
  return failed;
}

Failure Opening::open_pool() {
  const int error = rados_ioctx_create(opened_->cluster->get(), pool_.c_str(), &opened_->pool);
  if (error == 0) {
    if (const char* name = option_of(address_, "namespace")) {
      rados_ioctx_set_namespace(opened_->pool, name);
    }
    return {};
  }
  opened_->pool = nullptr;
  if (error == -ENOENT) {
    return {error, "the cluster has no pool \"" + pool_ + "\"; \"ceph osd pool ls\" lists them"};
  }
  return failure(error, "pool " + pool_);
}

Failure Opening::open_image() {
  const auto open = writes() ? &rbd_open : &rbd_open_read_only;
  const int error = open(opened_->pool, name_.c_str(), &opened_->image, snapshot_);
  if (error == 0) return {};
  opened_->image = nullptr;
  const char* space = option_of(address_, "namespace");
  const std::string where = pool_ + (space == nullptr ? "" : std::string("/") + space);
  switch (error) {
    case -ENOENT:
      return {error, snapshot_ == nullptr
                         ? "there is no image \"" + name_ + "\"; \"rbd ls " + where +
                               "\" lists those that there are"
                         : "there is no image \"" + name_ + "\", or it has no snapshot \"" +
                               snapshot_ + "\"; \"rbd snap ls " + where + "/" + name_ +
                               "\" lists them"};
    case -EPERM:
    case -EACCES:
      return {error,
              "the user may not open the image; give it the capability \"profile rbd\" of "
              "mon and of the pool"};
    case -ENOSYS:
    case -EROFS:
      return {error,
              "the image has features that this librbd does not know; \"rbd info\" shows "
              "them, \"rbd feature disable\" takes them away"};
    default:
      return failure(error, "the image cannot be opened");
  }
}

// An advisory lock ("rbd lock add") excludes writers. The exclusive lock that librbd manages moves
// to the client that writes.
Failure Opening::check_lock() {
  if (!writes()) return {};
  int exclusive = 0;
  std::array<char, 4096> tag{}, clients{}, cookies{}, addresses{};
  size_t sizes[] = {tag.size(), clients.size(), cookies.size(), addresses.size()};
  const ssize_t lockers =
      rbd_list_lockers(opened_->image, &exclusive, tag.data(), &sizes[0], clients.data(), &sizes[1],
                       cookies.data(), &sizes[2], addresses.data(), &sizes[3]);
  if (lockers == 0 || std::string_view(tag.data()) == "internal") return {};
  if (lockers < 0 && lockers != -ERANGE) return failure(int(lockers), "its locks cannot be read");
  return {
      -EBUSY,
      std::string("the image is locked") +
          (lockers < 0 ? "" : std::string(" by ") + clients.data() + " at " + addresses.data()) +
          "; end that client and remove the lock (rbd lock ls, rbd lock rm), or add "
          "\",ro\""};
}

Failure Opening::check_mirror() {
  uint64_t features = 0;
  rbd_mirror_image_info_t info{};
  if (!writes() || rbd_get_features(opened_->image, &features) < 0) return {};
  if (rbd_mirror_image_get_info(opened_->image, &info, sizeof info) < 0) return {};
  const bool copy = info.state == RBD_MIRROR_IMAGE_ENABLED && !info.primary;
  rbd_mirror_image_get_info_cleanup(&info);
  if (!copy) return {};
  return {-EROFS,
          "the image is the copy of a mirrored one; promote it (rbd mirror image promote), "
          "or add \",ro\""};
}

// The settings of an image and of its pool override those of this client.
Failure Opening::check_cache() {
  if (!writes()) return {};
  std::vector<rbd_config_option_t> options(512);
  int count = int(options.size());
  int error = rbd_config_image_list(opened_->image, options.data(), &count);
  if (error == -ERANGE) {
    options.resize(size_t(count));
    error = rbd_config_image_list(opened_->image, options.data(), &count);
  }
  if (error < 0) return failure(error, "its settings cannot be read");
  std::string cache;
  for (int i = 0; i < count; ++i) {
    const std::string_view name = options[size_t(i)].name, value = options[size_t(i)].value;
    if (options[size_t(i)].source == RBD_CONFIG_SOURCE_CONFIG) continue;
    if (name == "rbd_cache" && value != "false") cache = name;
    if (name == "rbd_persistent_cache_mode" && value != "disabled") cache = name;
  }
  rbd_config_image_list_cleanup(options.data(), count);
  if (cache.empty()) return {};
  return {-EINVAL, "the image or its pool asks for a cache (" + cache +
                       "), which would lose writes of hosts when this daemon ends; remove the "
                       "setting (rbd config image rm, rbd config pool rm)"};
}

Failure Opening::watch() {
  if (!writes()) return {};  // librbd does not notify readers
  const int error = rbd_update_watch(
      opened_->image, &opened_->watch,
      [](void* image) { Sizes::all().ask(*static_cast<Image*>(image)); }, opened_.get());
  if (error < 0) return failure(error, "it cannot be watched");
  opened_->watched = true;
  return {};
}

Failure Opening::describe(RemoteInfo& info) {
  std::array<char, 64> cluster{}, id{};
  int error = rados_cluster_fsid(opened_->cluster->get(), cluster.data(), cluster.size());
  if (error >= 0) error = rbd_get_id(opened_->image, id.data(), id.size());
  if (error >= 0) error = rbd_get_size(opened_->image, &info.bytes);
  uint64_t snapshot = 0;
  if (error >= 0 && snapshot_ != nullptr) {
    error = rbd_snap_get_id(opened_->image, snapshot_, &snapshot);
  }
  if (error < 0) return failure(error, "it cannot be looked at");
  const char* space = option_of(address_, "namespace");
  std::string identity = std::string("rbd:") + cluster.data() + ":" +
                         std::to_string(rados_ioctx_get_id(opened_->pool)) + ":" +
                         (space == nullptr ? "" : std::string(space) + "/") + id.data();
  if (snapshot_ != nullptr) identity += "@" + std::to_string(snapshot);
  set_error(info.identity, sizeof info.identity, identity.c_str());
  info.world_wide = true;
  info.read_only = !writes();
  info.volatile_cache = false;
  info.deallocate = true;
  info.zeroes = true;
  return {};
}

// On a thread of librbd.
void completed(rbd_completion_t completion, void* argument) {
  auto& request = *static_cast<RemoteRequest*>(argument);
  const int64_t result = rbd_aio_get_return_value(completion);
  rbd_aio_release(completion);
  if (result == -ESHUTDOWN) static_cast<Image*>(request.image)->cluster->set_fenced();
  request.done(request, result);
}

int start(rbd_image_t image, const RemoteRequest& request, rbd_completion_t completion) {
  switch (request.op) {
    case RemoteOp::kRead:
      return rbd_aio_readv(image, request.buffers, int(request.buffer_count), request.offset,
                           completion);
    case RemoteOp::kWrite:
      return rbd_aio_writev(image, request.buffers, int(request.buffer_count), request.offset,
                            completion);
    case RemoteOp::kFlush:
      return rbd_aio_flush(image, completion);
    case RemoteOp::kDeallocate:
      return rbd_aio_discard(image, request.offset, request.length, completion);
    case RemoteOp::kWriteZeroes:
      return int(rbd_aio_write_zeroes(
          image, request.offset, request.length, completion,
          request.deallocate ? 0 : int(RBD_WRITE_ZEROES_FLAG_THICK_PROVISION), 0));
  }
  return -EOPNOTSUPP;
}

int open(const RemoteAddress& address, const RemoteEvents& events, void** image, RemoteInfo* info,
         char* error, size_t error_size) {
  // A client that was fenced while it was idle fails here. The second attempt has a new client.
  for (int tries = 0;; ++tries) {
    Opening opening(address, events);
    const Failure failed = opening.run(*info);
    if (!failed) {
      *image = opening.take();
      return 0;
    }
    if (failed.error == -ESHUTDOWN && tries == 0) continue;
    set_error(error, error_size, failed.message.c_str());
    return failed.error;
  }
}

void close(void* image) { delete static_cast<Image*>(image); }

bool fenced(void* image) { return static_cast<Image*>(image)->cluster->fenced(); }

// Without it another client's first write waits until librbd asks for the lock again: 5 s.
void yield(void* image) {
  const rbd_image_t rbd = static_cast<Image*>(image)->image;
  int owner = 0;
  if (rbd_is_exclusive_lock_owner(rbd, &owner) == 0 && owner != 0) rbd_lock_release(rbd);
}

int submit(void* image, RemoteRequest& request) {
  request.image = image;
  rbd_completion_t completion = nullptr;
  int error = rbd_aio_create_completion(&request, &completed, &completion);
  if (error < 0) return error;
  error = start(static_cast<Image*>(image)->image, request, completion);
  if (error >= 0) return 0;
  rbd_aio_release(completion);
  return error;
}

}  // namespace
}  // namespace mrpool::storage

extern "C" __attribute__((visibility("default")))
const mrpool::storage::RemoteApi mrpool_remote_api = {.version = mrpool::storage::kRemoteApiVersion,
                                                      .open = &mrpool::storage::open,
                                                      .close = &mrpool::storage::close,
                                                      .submit = &mrpool::storage::submit,
                                                      .fenced = &mrpool::storage::fenced,
                                                      .yield = &mrpool::storage::yield,
                                                      .records = &mrpool::storage::kRbdRecords};
