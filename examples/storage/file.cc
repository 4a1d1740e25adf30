#include "examples/storage/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/storage/claim.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/file_channel.h"
#include "examples/storage/file_size.h"
#include "examples/storage/growth.h"
#include "examples/storage/ring.h"
#include "examples/storage/users.h"

namespace mrpool::storage {
namespace {

struct FileOptions {
  bool direct = false;  // O_DIRECT
  bool read_only = false;
  bool shared = false;  // other daemons write to it too
  uint64_t size = 0;    // make a file of so many bytes, or grow it to them; 0: it has to exist
};

class FileVolume final : public Volume {
 public:
  explicit FileVolume(std::shared_ptr<OpenFile> file) : file_(std::move(file)) {}

  Geometry geometry() const override { return file_->geometry(); }
  const std::string& spec() const override { return file_->spec(); }
  const StoreIdentity& identity() const override { return file_->identity(); }
  absl::Status still_there() const override { return file_->still_there(); }
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to) override { return file_->refresh(grow_to); }
  std::span<std::byte> memory() override { return {}; }
  std::byte* locate(uint64_t, uint64_t) override { return nullptr; }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override {
    return FileChannel::open(file_, reactor);
  }

 private:
  const std::shared_ptr<OpenFile> file_;
};

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

absl::Status file_error(const std::string& path, int error, std::string_view what) {
  return absl::ErrnoToStatus(error,
                             absl::StrCat(path, ": ", absl::string_view(what.data(), what.size())));
}

absl::Status no_direct(const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": this file system has no O_DIRECT; leave out \",direct\""));
}

// What a file of so many bytes can be served as.
absl::Status servable(const std::string& path, uint64_t bytes, uint32_t block_size) {
  if (bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is empty; add \",size=10GiB\" to extend it"));
  }
  const absl::Status status = whole_blocks(bytes, block_size);
  return status.ok() ? status
                     : absl::InvalidArgumentError(absl::StrCat(path, ": ", status.message()));
}

// A file has no lock that the kernel's own users would show or respect.
absl::Status not_the_kernels(const std::string& path, const FileOptions& options,
                             const struct stat& file) {
  const std::string users = users_of_file(file, options.read_only);
  return users.empty() ? absl::OkStatus()
                       : absl::FailedPreconditionError(absl::StrCat(path, " ", users));
}

// Whether what is at the path, if anything is, can be served.
absl::Status check_kind(const std::string& path, const FileOptions& options,
                        const struct stat* there) {
  if (there != nullptr) {
    if (S_ISREG(there->st_mode)) return not_the_kernels(path, options, *there);
    if (S_ISBLK(there->st_mode)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(path, S_ISDIR(there->st_mode) ? " is a directory, " : " is ",
                     "neither a regular file nor a block device"));
  }
  if (options.size == 0) {
    return absl::NotFoundError(
        absl::StrCat(path, " does not exist; add \",size=10GiB\" to create it"));
  }
  if (options.read_only) {
    return absl::NotFoundError(absl::StrCat(
        path, " does not exist, and \",ro\" cannot create it; leave out \",ro\" or \",size=\""));
  }
  return absl::OkStatus();
}

// How many of the bytes there are after opening: `bytes` of a file or device, grown where asked.
absl::StatusOr<uint64_t> size_after(const std::string& path, const FileOptions& options,
                                    uint64_t bytes, bool regular) {
  if (options.size == 0 || options.size == bytes) return bytes;
  if (options.size < bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has ", base::exact_size(bytes), ", more than size=", base::exact_size(options.size),
        "; write size=", base::exact_size(bytes), " or leave size= out"));
  }
  if (options.read_only || !regular) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", bytes, " bytes and ",
                     regular ? "\",ro\" cannot extend it" : "a device cannot be extended",
                     "; leave out \",size=\""));
  }
  return options.size;
}

// A path on its way to being served. Each step needs the ones before it.
class Opening {
 public:
  Opening(const Spec& spec, const FileOptions& options)
      : spec_(spec.text),
        path_(spec.target),
        block_size_(spec.block_size),
        replaces_(spec.replaces),
        others_leave_(spec.others_leave),
        growth_(spec.growth),
        options_(options) {}
  // A file that was made for nothing is in the way of the next attempt.
  ~Opening() {
    if (made_) ::unlink(path_.c_str());
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  absl::StatusOr<std::shared_ptr<Volume>> run() {
    for (const auto step :
         {&Opening::look, &Opening::open, &Opening::claim, &Opening::size, &Opening::geometry}) {
      if (absl::Status status = (this->*step)(); !status.ok()) return status;
    }
    const std::shared_ptr<OpenFile> file(
        new OpenFile(std::move(spec_), path_, fd_, regular(), std::move(claim_), geometry_),
        OpenFile::end);
    if (absl::Status status = grow(); !status.ok()) return status;
    return std::make_shared<FileVolume>(file);
  }

 private:
  bool regular() const { return S_ISREG(info_.st_mode); }
  // Before opening, which waits for a writer where the path is a FIFO.
  absl::Status look();
  absl::Status open();
  absl::Status claim();
  absl::Status size();
  absl::Status geometry();
  absl::Status grow();

  std::string spec_;
  const std::string& path_;
  const uint32_t block_size_;
  const std::shared_ptr<Volume> replaces_;
  const bool others_leave_;
  Growth* const growth_;
  const FileOptions& options_;
  struct stat info_ {};
  bool exists_ = false;
  bool made_ = false;
  std::shared_ptr<const Claim> claim_;  // given up after the descriptor
  std::shared_ptr<const Descriptor> fd_;
  uint64_t there_ = 0;  // bytes
  uint64_t bytes_ = 0;  // that there are to be
  Geometry geometry_;
};

absl::Status Opening::look() {
  exists_ = ::stat(path_.c_str(), &info_) == 0;
  if (!exists_ && errno != ENOENT) return file_error(path_, errno, "cannot be looked at");
  return check_kind(path_, options_, exists_ ? &info_ : nullptr);
}

absl::Status Opening::open() {
  int flags = O_CLOEXEC | (options_.read_only ? O_RDONLY : O_RDWR);
  if (!exists_) flags |= O_CREAT | O_EXCL;  // never somebody else's that has just appeared
  if (options_.direct) flags |= O_DIRECT;
  // A device is opened exclusively first: opened for writing, even briefly, it would be scanned
  // again.
  if (exists_ && !regular()) {
    if (absl::Status status = claim(); !status.ok()) return status;
  }
  fd_ = std::make_shared<const Descriptor>(::open(path_.c_str(), flags, 0600));
  if (fd_->get() < 0) {
    if (errno == EINVAL && options_.direct) return no_direct(path_);
    return file_error(path_, errno, "cannot be opened");
  }
  made_ = !exists_;
  if (::fstat(fd_->get(), &info_) != 0) return file_error(path_, errno, "cannot be looked at");
  if (claim_ != nullptr && !claim_->identity.is(info_)) {
    return absl::UnavailableError(absl::StrCat(path_, " was replaced while it was opened"));
  }
  return absl::OkStatus();
}

absl::Status Opening::claim() {
  if (claim_ != nullptr) return absl::OkStatus();
  const StoreIdentity identity = StoreIdentity::of(fd_ != nullptr ? fd_->get() : -1, info_);
  auto claim = take_claim({.identity = identity,
                           .spec = spec_,
                           .read_only = options_.read_only,
                           .shared = options_.shared,
                           .path = path_,
                           .file = regular() ? fd_ : nullptr,
                           .takes_over = replaces_ != nullptr && replaces_->identity() == identity,
                           .others_leave = others_leave_});
  if (!claim.ok()) return claim.status();
  claim_ = *std::move(claim);
  return absl::OkStatus();
}

absl::Status Opening::size() {
  const auto bytes = file_size(fd_->get(), Freshness::kServer);
  if (!bytes) return file_error(path_, errno, "has no size to be read");
  const absl::StatusOr<uint64_t> after = size_after(path_, options_, *bytes, regular());
  there_ = *bytes;
  if (after.ok()) bytes_ = *after;
  return after.status();
}

absl::Status Opening::geometry() {
  if (absl::Status status = servable(path_, bytes_, block_size_); !status.ok()) return status;
  geometry_ = {.block_size = block_size_,
               .blocks = bytes_ / block_size_,
               .volatile_cache = !options_.read_only,
               .deallocate = true,
               .read_only = options_.read_only};
  if (!options_.direct) return absl::OkStatus();
  const DirectAlignment align = direct_alignment(fd_->get());
  if (align.offset == 0) return no_direct(path_);
  if (block_size_ % align.offset != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": O_DIRECT needs blocks of ", align.offset,
                     " bytes here; write \",bs=", align.offset, "\""));
  }
  geometry_.buffer_alignment = align.memory;
  return absl::OkStatus();
}

// Last, when nothing else can fail.
absl::Status Opening::grow() {
  if (!made_ && bytes_ == there_) return absl::OkStatus();
  const Growth::File file{path_, fd_, there_, bytes_, made_};
  made_ = false;  // whose growth it is removes it
  if (growth_ != nullptr) {
    growth_->add(file);
    return absl::OkStatus();
  }
  Growth growth;
  growth.add(file);
  absl::Status status = growth.apply();
  if (status.ok()) growth.keep();
  return status;
}

absl::StatusOr<FileOptions> options_of(const Spec& spec) {
  if (spec.target.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": the path is missing; write file:/srv/disk.img"));
  }
  FileOptions options{.direct = spec.find("direct") != nullptr,
                      .read_only = spec.find("ro") != nullptr,
                      .shared = spec.find("shared") != nullptr};
  const StoreSpec::Option* size = spec.find("size");
  if (size == nullptr) return options;
  const auto bytes = base::parse_size(size->value);
  if (!bytes.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": ", bytes.status().message()));
  }
  if (*bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": size= is zero; write size=10GiB"));
  }
  if (absl::Status status = servable(spec.target, *bytes, spec.block_size); !status.ok()) {
    return status;
  }
  options.size = *bytes;
  return options;
}

absl::Status check_file(const Spec& spec) { return options_of(spec).status(); }

absl::Status permitted(const std::string& path, int how, std::string_view what) {
  return ::access(path.c_str(), how) == 0 ? absl::OkStatus() : file_error(path, errno, what);
}

absl::Status check_path(const Spec& spec) {
  const std::string& path = spec.target;
  const absl::StatusOr<FileOptions> options = options_of(spec);
  if (!options.ok()) return options.status();
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (!exists && errno != ENOENT) return file_error(path, errno, "cannot be looked at");
  absl::Status status = check_kind(path, *options, exists ? &info : nullptr);
  if (!status.ok()) return status;
  if (!exists) {
    const std::string folder = std::filesystem::path(path).parent_path();
    return permitted(folder.empty() ? "." : folder, W_OK | X_OK, "no file can be created here");
  }
  status = permitted(path, options->read_only ? R_OK : R_OK | W_OK, "cannot be opened");
  const std::optional<uint64_t> bytes = size_there(info);
  if (!status.ok() || !bytes) return status;
  const auto after = size_after(path, *options, *bytes, S_ISREG(info.st_mode));
  return after.ok() ? servable(path, *after, spec.block_size) : after.status();
}

absl::StatusOr<std::shared_ptr<Volume>> open_file(const Spec& spec) {
  const std::string& path = spec.target;
  const absl::StatusOr<FileOptions> options = options_of(spec);
  if (!options.ok()) return options.status();
  try {
    // Before any host depends on it.
    if (absl::Status ring = Ring::probe(); !ring.ok()) report_fallback(spec.text, ring.message());
    return Opening(spec, *options).run();
  } catch (const std::exception& error) {  // no thread, no memory
    return absl::ResourceExhaustedError(absl::StrCat(path, ": cannot be opened: ", error.what()));
  }
}

constexpr std::string_view kOptions[] = {"direct", "ro", "shared", "size=SIZE"};

}  // namespace

constinit const Backend kFile = {
    .scheme = "file",
    .target = "PATH",
    .example = "file:/srv/disk.img",
    .summary =
        "a regular file, made or made larger where size= is given, or a block device; direct: "
        "O_DIRECT, ro: read only, shared: other daemons serve it too",
    .options = kOptions,
    .check = check_file,
    .check_there = check_path,
    .memory = [](const Spec&) { return uint64_t{0}; },
    .way = {},
    .open = open_file};

}  // namespace mrpool::storage
