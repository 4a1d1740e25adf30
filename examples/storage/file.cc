#include "examples/storage/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/random_access_file.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/io_util.h"
#include "examples/storage/sync_thread.h"

namespace mrpool::storage {
namespace {

namespace asio = boost::asio;

class FileVolume final : public Volume, public std::enable_shared_from_this<FileVolume> {
 public:
  FileVolume(std::string spec, Descriptor fd, const Geometry& geometry)
      : spec_(std::move(spec)), fd_(std::move(fd)), geometry_(geometry), sync_(fd_.get()) {}

  const Geometry& geometry() const override { return geometry_; }
  const std::string& spec() const override { return spec_; }
  std::span<std::byte> memory() override { return {}; }
  std::byte* locate(uint64_t, uint64_t) override { return nullptr; }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override;
  int fd() const { return fd_.get(); }
  SyncThread& sync() { return sync_; }

 private:
  const std::string spec_;
  const Descriptor fd_;
  const Geometry geometry_;
  SyncThread sync_;
};

// The rest of a scatter list from its byte `skip` on, as Asio takes it; lives inside the operation.
template <typename Buffer>
class Buffers {
 public:
  static constexpr size_t kMax = 32;
  using value_type = Buffer;
  using const_iterator = const Buffer*;
  Buffers(std::span<const iovec> list, uint64_t skip) {
    for (const iovec& v : list) {
      if (skip >= v.iov_len) {
        skip -= v.iov_len;
        continue;
      }
      if (count_ == kMax) return;
      buffers_[count_++] =
          Buffer(static_cast<std::byte*>(v.iov_base) + skip, v.iov_len - size_t(skip));
      skip = 0;
    }
  }
  const Buffer* begin() const { return buffers_.data(); }
  const Buffer* end() const { return buffers_.data() + count_; }

 private:
  std::array<Buffer, kMax> buffers_;
  size_t count_ = 0;
};

// Blocks for Asio's operations, reused, so that an I/O allocates nothing once warm.
class Slab {
 public:
  static constexpr size_t kBlock = 4096;
  ~Slab() {
    while (free_ != nullptr) ::operator delete(std::exchange(free_, free_->next));
  }
  void* get(size_t bytes) {
    if (bytes > kBlock) return ::operator new(bytes);
    if (free_ == nullptr) return ::operator new(kBlock);
    return std::exchange(free_, free_->next);
  }
  void put(void* at, size_t bytes) {
    if (bytes > kBlock) return ::operator delete(at);
    free_ = new (at) Free{free_};
  }

 private:
  struct Free {
    Free* next;
  };
  Free* free_ = nullptr;
};

template <typename T>
struct SlabAllocator {
  using value_type = T;
  explicit SlabAllocator(Slab& s) : slab(&s) {}
  template <typename U>
  SlabAllocator(const SlabAllocator<U>& other) : slab(other.slab) {}  // NOLINT: rebinds
  T* allocate(size_t n) { return static_cast<T*>(slab->get(n * sizeof(T))); }
  void deallocate(T* at, size_t n) { slab->put(at, n * sizeof(T)); }
  template <typename U>
  bool operator==(const SlabAllocator<U>& other) const {
    return slab == other.slab;
  }
  Slab* slab;
};

class FileChannel final : public Channel {
 public:
  FileChannel(std::shared_ptr<FileVolume> volume, Reactor& reactor)
      : volume_(std::move(volume)), reactor_(reactor) {}

  absl::Status open() {
    lanes_.reserve(kLanes);
    while (lanes_.size() < kLanes) {
      const int fd = fcntl(volume_->fd(), F_DUPFD_CLOEXEC, 0);
      if (fd < 0) {
        return absl::ErrnoToStatus(
            errno, absl::StrCat(volume_->spec(), ": ", kLanes,
                                " descriptors for each file and thread (raise `ulimit -n`)"));
      }
      boost::system::error_code error;
      lanes_.emplace_back(*reactor_.io_context()).assign(fd, error);
      if (error) {
        ::close(fd);
        return absl::UnavailableError(
            absl::StrCat(volume_->spec(), ": io_uring is not to be had: ", error.message()));
      }
    }
    return absl::OkStatus();
  }

  bool submit(Io& io) override {
    io.error = check(volume_->geometry(), io);
    io.progress = 0;
    io.owner = this;
    if (io.error != Error::kNone) return true;
    switch (io.op) {
      case Op::kRead:
      case Op::kWrite:
        if (io.length == 0) return true;
        ++pending_;
        step(io);
        return false;
      case Op::kFlush:
        if (volume_->geometry().read_only) return true;
        [[fallthrough]];
      case Op::kWriteZeroes:
      case Op::kDeallocate:
        ++pending_;
        volume_->sync().submit(io, reactor_, &finished);
        return false;
      case Op::kHold:
        break;
    }
    io.error = Error::kUnsupported;
    return true;
  }
  void release(Io&) override {}
  uint32_t pending() const override { return pending_; }

 private:
  struct Handler {
    using allocator_type = SlabAllocator<void*>;
    allocator_type get_allocator() const { return allocator_type(channel->slab_); }
    void operator()(const boost::system::error_code& error, size_t bytes) {
      channel->moved(*io, error, bytes);
    }
    FileChannel* channel;
    Io* io;
  };

  static void finished(Io& io) {
    --static_cast<FileChannel*>(io.owner)->pending_;
    io.done(io);
  }

  // Reads or writes what is left of the request.
  void step(Io& io) {
    const uint64_t at = io.offset + io.progress;
    asio::random_access_file& file = lanes_[next_lane_++ % kLanes];
    if (io.op == Op::kRead) {
      file.async_read_some_at(at, Buffers<asio::mutable_buffer>(io.buffers, io.progress),
                              Handler{this, &io});
    } else {
      file.async_write_some_at(at, Buffers<asio::const_buffer>(io.buffers, io.progress),
                               Handler{this, &io});
    }
  }

  void moved(Io& io, const boost::system::error_code& error, size_t bytes) {
    if (error == asio::error::interrupted || error == asio::error::try_again) return step(io);
    if (error || bytes == 0) {
      // End of file inside the volume: the file was cut behind our back.
      const bool end = error == asio::error::eof || !error;
      io.error = from_errno(end ? EIO : error.value(), io.op);
      return finished(io);
    }
    io.progress += bytes;
    if (io.progress < io.length) return step(io);
    if (io.op == Op::kWrite && io.fua) return volume_->sync().submit(io, reactor_, &finished);
    finished(io);
  }

  const std::shared_ptr<FileVolume> volume_;
  Reactor& reactor_;
  Slab slab_;  // before lanes_: their cancelled operations are given back here
  // An Asio file has one read and one write with the kernel at a time and queues the others, so one
  // file object would be a queue depth of one.
  static constexpr size_t kLanes = 32;
  std::vector<asio::random_access_file> lanes_;
  size_t next_lane_ = 0;
  uint32_t pending_ = 0;
};

absl::StatusOr<std::unique_ptr<Channel>> FileVolume::open_channel(Reactor& reactor) {
  if (reactor.io_context() == nullptr) {
    return absl::FailedPreconditionError("a file volume needs a reactor on Asio");
  }
  auto channel = std::make_unique<FileChannel>(shared_from_this(), reactor);
  if (absl::Status status = channel->open(); !status.ok()) return status;
  return channel;
}

// What O_DIRECT asks of addresses and offsets; 0, 0 when the file system does not take it.
struct DirectAlignment {
  uint32_t memory = 512;
  uint32_t offset = 512;
};
DirectAlignment direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx info {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    return {info.stx_dio_mem_align, info.stx_dio_offset_align};
  }
#endif
  int sector = 0;
  if (ioctl(fd, BLKSSZGET, &sector) == 0) return {512, uint32_t(sector)};
  return {};
}

// Locks the file. A process that was killed holds its lock until the kernel has finished what it
// had under way in io_uring, some time after the process is gone; that is waited for, and is what
// keeps its last writes from landing on ours.
bool lock(int fd, int how) {
  constexpr int kTries = 100;
  for (int i = 0; ::flock(fd, how | LOCK_NB) != 0; ++i) {
    if (errno != EWOULDBLOCK || i == kTries) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

absl::Status file_error(const std::string& path, int error, std::string_view what) {
  return absl::ErrnoToStatus(error,
                             absl::StrCat(path, ": ", absl::string_view(what.data(), what.size())));
}

struct FileOptions {
  bool direct = false;  // O_DIRECT
  bool read_only = false;
  uint64_t size = 0;  // bytes of a file to make; 0: it has to exist
};

absl::Status no_direct(const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": this file system has no O_DIRECT; leave out \",direct\""));
}

// Opens the file, or makes it with the size that was asked for, and locks it.
absl::StatusOr<Descriptor> open_locked(const std::string& path, uint32_t block_size,
                                       const FileOptions& options) {
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (!exists && errno != ENOENT) return file_error(path, errno, "cannot be looked at");
  if (!exists && options.size == 0) {
    return absl::NotFoundError(
        absl::StrCat(path, " does not exist; add \",size=10GiB\" to have it made"));
  }
  if (!exists && options.size < block_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": \",size=\" is smaller than one block of ", block_size, " bytes"));
  }
  int flags = O_CLOEXEC | (options.read_only ? O_RDONLY : O_RDWR);
  if (!exists) flags |= O_CREAT | O_EXCL;  // never somebody else's that has just appeared
  if (options.direct) flags |= O_DIRECT;
  Descriptor fd(::open(path.c_str(), flags, 0600));
  if (fd.get() < 0) {
    if (errno == EINVAL && options.direct) return no_direct(path);
    return file_error(path, errno, "cannot be opened");
  }
  if (!lock(fd.get(), options.read_only ? LOCK_SH : LOCK_EX)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is in use by another namespace or program"));
  }
  if (!exists && ::ftruncate(fd.get(), off_t(options.size)) != 0) {
    const int error = errno;
    ::unlink(path.c_str());  // an empty one would be in the way of the next attempt
    return file_error(path, error, "cannot be made that large");
  }
  return fd;
}

// Bytes of what is open, checked against what was asked for.
absl::StatusOr<uint64_t> size_of(const std::string& path, int fd, uint32_t block_size,
                                 const FileOptions& options) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return file_error(path, errno, "cannot be looked at");
  uint64_t bytes = 0;
  if (S_ISREG(info.st_mode)) {
    bytes = uint64_t(info.st_size);
  } else if (S_ISBLK(info.st_mode)) {
    if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
      return file_error(path, errno, "has no size to be read");
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is neither a regular file nor a block device"));
  }
  if (options.size != 0 && bytes != options.size) {
    return absl::InvalidArgumentError(absl::StrCat(path, " exists with ", bytes, " bytes, not ",
                                                   options.size,
                                                   "; leave out \",size=\" or remove the file"));
  }
  if (bytes < block_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is smaller than one block of ", block_size, " bytes"));
  }
  return bytes;
}

absl::StatusOr<FileOptions> parse_options(const Spec& spec) {
  if (spec.target.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": the path is missing; write file:/srv/disk.img"));
  }
  FileOptions options{.direct = spec.has("direct"), .read_only = spec.has("ro")};
  if (const auto written = spec.value("size")) {
    const auto size = base::parse_size(*written);
    if (!size.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", spec.text, "\": ", size.status().message()));
    }
    options.size = *size;
  }
  return options;
}

absl::Status check_file(const Spec& spec) { return parse_options(spec).status(); }

absl::StatusOr<std::shared_ptr<Volume>> open_file(const Spec& spec) {
  const std::string& path = spec.target;
  const absl::StatusOr<FileOptions> parsed = parse_options(spec);
  if (!parsed.ok()) return parsed.status();
  const FileOptions& options = *parsed;
  auto fd = open_locked(path, spec.block_size, options);
  if (!fd.ok()) return fd.status();
  const auto bytes = size_of(path, fd->get(), spec.block_size, options);
  if (!bytes.ok()) return bytes.status();
  Geometry geometry{.block_size = spec.block_size,
                    .blocks = *bytes / spec.block_size,
                    .volatile_cache = !options.read_only,
                    .deallocate = true,
                    .read_only = options.read_only};
  if (options.direct) {
    const DirectAlignment align = direct_alignment(fd->get());
    if (align.offset == 0) return no_direct(path);
    if (spec.block_size % align.offset != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": O_DIRECT needs blocks of ", align.offset,
                       " bytes here; write \",bs=", align.offset, "\""));
    }
    geometry.buffer_alignment = align.memory;
  }
  return std::make_shared<FileVolume>(spec.text, std::move(*fd), geometry);
}

constexpr std::string_view kOptions[] = {"direct", "ro", "size=SIZE"};

}  // namespace

constinit const Backend kFile = {
    .scheme = "file",
    .target = "PATH",
    .example = "file:/srv/disk.img",
    .summary =
        "a regular file, made where size= is given, or a block device; direct: O_DIRECT, "
        "ro: read only",
    .options = kOptions,
    .check = check_file,
    .open = open_file};

}  // namespace mrpool::storage
