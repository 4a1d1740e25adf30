#include "examples/storage/ram.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/base/core_dump.h"
#include "examples/base/units.h"
#include "examples/storage/claim.h"
#include "examples/storage/io_util.h"
#include "examples/storage/outstanding.h"
#include "examples/storage/range_guard.h"

namespace mrpool::storage {
namespace {

// Anonymous memory, zeroed, in huge pages where the machine has them. Pages appear when touched.
class Mapping {
 public:
  static absl::StatusOr<Mapping> create(uint64_t bytes) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", bytes, " bytes: ", std::strerror(errno)));
    }
    madvise(at, bytes, MADV_HUGEPAGE);
    Mapping mapping(static_cast<std::byte*>(at), bytes);
    base::keep_out_of_core_dump(mapping.memory());
    return mapping;
  }
  Mapping(Mapping&& other) noexcept : memory_(other.memory_) { other.memory_ = {}; }
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (!memory_.empty()) munmap(memory_.data(), memory_.size());
  }
  std::span<std::byte> memory() const { return memory_; }

 private:
  Mapping(std::byte* at, uint64_t bytes) : memory_(at, bytes) {}
  std::span<std::byte> memory_;
};

// RAM and null are what they are as long as they are open, and keep their size.
class UnchangingVolume : public Volume {
 public:
  UnchangingVolume(std::string spec, std::shared_ptr<const Claim> claim, const Geometry& geometry)
      : spec_(std::move(spec)), claim_(std::move(claim)), geometry_(geometry) {}
  Geometry geometry() const override { return geometry_; }
  const std::string& spec() const override { return spec_; }
  const StoreIdentity& identity() const override { return claim_->identity; }
  absl::Status still_there() const override { return absl::OkStatus(); }
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to) override {
    if (grow_to <= geometry_.bytes()) return SizeChange::kSame;
    return absl::FailedPreconditionError(absl::StrCat(
        spec_, " cannot grow to ", grow_to, " bytes while it is open; close it and open it again"));
  }

 private:
  const std::string spec_;
  const std::shared_ptr<const Claim> claim_;
  const Geometry geometry_;
};

// What the volumes of one RAM share.
struct RamMemory {
  explicit RamMemory(Mapping memory) : mapping(std::move(memory)), guard(mapping.memory().size()) {}
  const Mapping mapping;
  RangeGuard guard;
};

class RamVolume final : public UnchangingVolume, public std::enable_shared_from_this<RamVolume> {
 public:
  RamVolume(std::string spec, std::shared_ptr<const Claim> claim, std::shared_ptr<RamMemory> memory,
            uint32_t block_size)
      : UnchangingVolume(std::move(spec), std::move(claim),
                         {.block_size = block_size,
                          .blocks = memory->mapping.memory().size() / block_size,
                          .deallocate = true}),
        shared_(std::move(memory)),
        memory_(shared_->mapping.memory()),
        guard_(shared_->guard) {}

  std::span<std::byte> memory() override { return memory_; }
  const std::shared_ptr<RamMemory>& shared() const { return shared_; }
  std::byte* locate(uint64_t offset, uint64_t) override { return memory().data() + offset; }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override;
  RangeGuard& guard() { return guard_; }

 private:
  const std::shared_ptr<RamMemory> shared_;
  const std::span<std::byte> memory_;
  RangeGuard& guard_;
};

// Requests finish inside submit() but for two reasons to wait: the range is taken, or the request
// zeroes so much that the loop's other work has to come in between.
class RamChannel final : public Channel, private Poller {
 public:
  RamChannel(std::shared_ptr<RamVolume> volume, Reactor& reactor)
      : volume_(std::move(volume)), reactor_(reactor) {
    reactor_.add_poller(*this);
  }
  ~RamChannel() override { reactor_.remove_poller(*this); }

  bool submit(Io& io) override {
    io.error = check(volume_->geometry(), io);
    io.progress = 0;
    if (io.error != Error::kNone || advance(io)) return true;
    waiting_.push(io);
    outstanding_.add(io, reactor_.now());
    return false;
  }
  void release(Io& io) override { volume_->guard().unshare(io.offset, io.length); }
  bool wanted(const Io& io) const override { return volume_->guard().wanted(io.offset, io.length); }
  uint32_t pending() const override { return outstanding_.count(); }
  Nanoseconds oldest_age(Nanoseconds now) const override { return outstanding_.oldest_age(now); }

 private:
  // While another reactor's I/O holds a range there is no event of its end: look again soon.
  static constexpr Nanoseconds kRetry = std::chrono::microseconds(100);

  // Does a step of the request; true when it is done.
  bool advance(Io& io) {
    RangeGuard& guard = volume_->guard();
    switch (io.op) {
      case Op::kFlush:
        return true;
      case Op::kHold:
        return guard.try_share(io.offset, io.length);
      case Op::kRead:
        if (!guard.try_share(io.offset, io.length)) return false;
        copy_out(io.buffers, volume_->memory().data() + io.offset, io.length);
        guard.unshare(io.offset, io.length);
        return true;
      case Op::kWrite:
        if (io.length <= RangeGuard::kMaxExclusive) {
          if (!guard.try_exclusive(io.offset, io.length)) return false;
          copy_in(volume_->memory().data() + io.offset, io.buffers, io.length);
          guard.release_exclusive(io.offset, io.length);
          return true;
        }
        return write_step(io);
      case Op::kWriteZeroes:
      case Op::kDeallocate: {
        const uint64_t at = io.offset + io.progress;
        const uint64_t n = std::min(io.length - io.progress, RangeGuard::kMaxExclusive);
        if (n > 0) {
          if (!guard.try_exclusive(at, n)) return false;
          std::memset(volume_->memory().data() + at, 0, n);
          guard.release_exclusive(at, n);
          io.progress += n;
        }
        return io.progress == io.length;
      }
    }
    io.error = Error::kUnsupported;
    return true;
  }

  // One whole-block piece of a long write.
  bool write_step(Io& io) {
    const uint64_t n = std::min(io.length - io.progress, RangeGuard::kMaxExclusive);
    const uint64_t at = io.offset + io.progress;
    if (!volume_->guard().try_exclusive(at, n)) return false;
    std::byte* to = volume_->memory().data() + at;
    uint64_t skip = io.progress;
    uint64_t left = n;
    for (const iovec& v : io.buffers) {
      if (skip >= v.iov_len) {
        skip -= v.iov_len;
        continue;
      }
      const uint64_t part = std::min<uint64_t>(left, v.iov_len - skip);
      std::memcpy(to, static_cast<const std::byte*>(v.iov_base) + skip, part);
      to += part;
      skip = 0;
      if ((left -= part) == 0) break;
    }
    volume_->guard().release_exclusive(at, n);
    io.progress += n;
    return io.progress == io.length;
  }

  bool poll() override {
    if (waiting_.empty()) return false;
    bool progress = false;
    Io* io = waiting_.take();
    while (io != nullptr) {
      Io* next = io->next;
      const uint64_t before = io->progress;
      if (advance(*io)) {
        progress = true;
        outstanding_.remove(*io);
        io->done(*io);
      } else {
        progress |= io->progress != before;
        waiting_.push(*io);
      }
      io = next;
    }
    return progress;
  }
  bool arm() override {
    if (!waiting_.empty()) wake_.arm(reactor_, kRetry);
    return true;
  }

  const std::shared_ptr<RamVolume> volume_;
  Reactor& reactor_;
  Timer wake_{[](Timer&) {}};  // only to end a sleep
  IoList waiting_;
  Outstanding outstanding_;
};

absl::StatusOr<std::unique_ptr<Channel>> RamVolume::open_channel(Reactor& reactor) {
  return std::make_unique<RamChannel>(shared_from_this(), reactor);
}

// Reads show one block of zeroes over and over, so that nothing but zeroes ever leaves.
class NullVolume final : public UnchangingVolume {
 public:
  static constexpr uint64_t kZeroes = 2 << 20;  // the longest read without a copy

  NullVolume(std::string spec, std::shared_ptr<const Claim> claim, Mapping zeroes, uint64_t bytes,
             uint32_t block_size)
      : UnchangingVolume(
            std::move(spec), std::move(claim),
            {.block_size = block_size, .blocks = bytes / block_size, .deallocate = true}),
        zeroes_(std::move(zeroes)) {}

  std::span<std::byte> memory() override { return zeroes_.memory(); }
  std::byte* locate(uint64_t, uint64_t length) override {
    return length <= kZeroes ? zeroes_.memory().data() : nullptr;
  }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override;

 private:
  const Mapping zeroes_;
};

class NullChannel final : public Channel {
 public:
  explicit NullChannel(const Geometry& geometry) : geometry_(geometry) {}
  bool submit(Io& io) override {
    io.error = check(geometry_, io);
    if (io.error == Error::kNone && io.op == Op::kRead) {
      for (const iovec& v : io.buffers) std::memset(v.iov_base, 0, v.iov_len);
    }
    return true;
  }
  void release(Io&) override {}
  uint32_t pending() const override { return 0; }
  Nanoseconds oldest_age(Nanoseconds) const override { return {}; }

 private:
  const Geometry geometry_;
};

absl::StatusOr<std::unique_ptr<Channel>> NullVolume::open_channel(Reactor&) {
  return std::make_unique<NullChannel>(geometry());
}

absl::StatusOr<uint64_t> size_of(const Spec& spec) {
  const auto bytes = base::parse_size(spec.target);
  if (!bytes.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": ", bytes.status().message()));
  }
  if (*bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\": a store of no bytes cannot be served; write ",
                     spec.scheme, ":64MiB"));
  }
  if (absl::Status status = whole_blocks(*bytes, spec.block_size); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", spec.text, "\": ", status.message()));
  }
  return bytes;
}

absl::StatusOr<StoreIdentity> identity_of(const Spec& spec) {
  const StoreSpec::Option* name = spec.find("name");
  if (name == nullptr) return StoreIdentity::unnamed();
  if (!name->value.empty()) return StoreIdentity::named(name->value);
  return absl::InvalidArgumentError(
      absl::StrCat("\"", spec.text, "\": the name is missing; write name=scratch"));
}

absl::Status check_memory(const Spec& spec) {
  const auto bytes = size_of(spec);
  return bytes.ok() ? identity_of(spec).status() : bytes.status();
}

uint64_t ram_memory(const Spec& spec) { return size_of(spec).value_or(0); }
uint64_t null_memory(const Spec&) { return NullVolume::kZeroes; }

// Memory without a name is what it was, when a volume takes the place of another.
absl::StatusOr<std::shared_ptr<const Claim>> claim_of(const Spec& spec) {
  absl::StatusOr<StoreIdentity> identity = identity_of(spec);
  if (!identity.ok()) return identity.status();
  const bool unnamed = identity->kind() == StoreIdentity::Kind::kUnnamed;
  if (spec.replaces != nullptr && unnamed) identity = spec.replaces->identity();
  return take_claim(
      {.identity = *identity,
       .spec = spec.text,
       .takes_over = spec.replaces != nullptr && spec.replaces->identity() == *identity,
       .others_leave = spec.others_leave});
}

absl::StatusOr<std::shared_ptr<Volume>> open_ram(const Spec& spec) {
  const auto bytes = size_of(spec);
  if (!bytes.ok()) return bytes.status();
  auto claim = claim_of(spec);
  if (!claim.ok()) return claim.status();
  if (spec.replaces != nullptr && spec.replaces->identity() == (*claim)->identity) {
    const auto* before = dynamic_cast<const RamVolume*>(spec.replaces.get());
    if (before == nullptr || before->geometry().bytes() != *bytes) {
      return absl::FailedPreconditionError(absl::StrCat(
          spec.text, " takes the place of ", spec.replaces->spec(),
          ", and memory keeps its kind and size; give it another name, or end that one first"));
    }
    return std::make_shared<RamVolume>(spec.text, *std::move(claim), before->shared(),
                                       spec.block_size);
  }
  auto mapping = Mapping::create(*bytes);
  if (!mapping.ok()) return mapping.status();
  return std::make_shared<RamVolume>(spec.text, *std::move(claim),
                                     std::make_shared<RamMemory>(*std::move(mapping)),
                                     spec.block_size);
}

absl::StatusOr<std::shared_ptr<Volume>> open_null(const Spec& spec) {
  const auto bytes = size_of(spec);
  if (!bytes.ok()) return bytes.status();
  auto claim = claim_of(spec);
  if (!claim.ok()) return claim.status();
  auto zeroes = Mapping::create(NullVolume::kZeroes);
  if (!zeroes.ok()) return zeroes.status();
  return std::make_shared<NullVolume>(spec.text, std::move(*claim), std::move(*zeroes), *bytes,
                                      spec.block_size);
}

constexpr std::string_view kOptions[] = {"name=NAME"};

}  // namespace

constinit const Backend kRam = {.scheme = "ram",
                                .target = "SIZE",
                                .example = "ram:64MiB",
                                .summary = "memory; zero after each start",
                                .options = kOptions,
                                .check = check_memory,
                                .check_there = check_memory,
                                .memory = ram_memory,
                                .way = {},
                                .open = open_ram};
constinit const Backend kNull = {.scheme = "null",
                                 .target = "SIZE",
                                 .example = "null:1TiB",
                                 .summary = "discards writes, reads as zeroes",
                                 .options = kOptions,
                                 .check = check_memory,
                                 .check_there = check_memory,
                                 .memory = null_memory,
                                 .way = {},
                                 .open = open_null};

}  // namespace mrpool::storage
