// Block storage of the targets: RAM, null and files, asynchronous, one interface.
//
// A Volume is the storage itself; a Channel is one reactor's way to it; an Io is one request.
//
//   auto volume = storage::open("file:/srv/disk.img,direct", options);
//   auto channel = (*volume)->open_channel(reactor);
//   io.op = Op::kRead; io.offset = ...; io.length = ...; io.buffers = ...;
//   if (channel->submit(io)) finished(io);        // done at once: io.error says how it went
//   else ...                                      // io.done(io) follows, from the reactor's loop
//
// Thread safety: Volume: shared objects: safe. Channel and Io: the thread of the channel's reactor.
// Ownership: a Volume outlives its channels (they share it); a Channel outlives its requests; an
// Io, its iovecs and their memory stay the caller's and must stay until it finished. Requests
// cannot be cancelled; late_ranges.h describes how a command ends before its request. Units: bytes.
// Offsets and lengths are multiples of block_size. Atomicity: a write is never seen torn inside a
// logical block. Completed writes are durable after the next kFlush that was submitted later than
// they finished; kWrite with `fua` by itself.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/storage/bad_blocks.h"
#include "examples/storage/identity.h"
#include "examples/storage/late_ranges.h"
#include "examples/storage/range_gate.h"
#include "examples/storage/trouble.h"
#include "mrpool/reactor.h"

namespace mrpool::storage {

enum class Op : uint8_t {
  kRead,         // into `buffers`
  kWrite,        // from `buffers`
  kFlush,        // whole volume; offset and length are ignored
  kWriteZeroes,  // reads as zeroes afterwards; with `deallocate` space may be given back
  kDeallocate,   // a hint: gives space back where it can; reads as zeroes where it did
  kHold,         // the bytes locate() shows for the range do not change until release(io)
};
std::string_view to_string(Op op);

// How a request ended. Each maps onto one NVMe status and one SCSI sense.
enum class Error : uint8_t {
  kNone,
  kOutOfRange,   // beyond the volume, or not whole blocks
  kMediaRead,    // NVMe unrecovered read error; SCSI MEDIUM ERROR 11/00
  kMediaWrite,   // NVMe write fault; SCSI MEDIUM ERROR 0C/00
  kNoSpace,      // NVMe capacity exceeded; SCSI DATA PROTECT 27/07
  kReadOnly,     // NVMe namespace write protected; SCSI DATA PROTECT 27/00
  kUnsupported,  // NVMe invalid opcode; SCSI ILLEGAL REQUEST 20/00
  kNotReady,     // NVMe namespace not ready; SCSI NOT READY 04/00
  // The store is whole, and this daemon has no access to it, where another may: NVMe internal path
  // error; SCSI NOT READY 04/0C.
  kInaccessible,
  kMarkedBad,  // a host has marked the block: NVMe unrecovered read error; SCSI MEDIUM ERROR 11/00
  // No more blocks can be marked: NVMe capacity exceeded; SCSI MEDIUM ERROR 32/00.
  kMarksFull,
  // A change of the marks cannot be kept: NVMe write fault; SCSI MEDIUM ERROR 32/01.
  kMarkNotKept,
  kInternal,  // NVMe internal error; SCSI HARDWARE ERROR 44/00
};
std::string_view to_string(Error error);
// The error that an errno value of a read or write stands for.
Error from_errno(int error, Op op);

struct Io {
  using Done = void (*)(Io& self);
  explicit constexpr Io(Done done_fn) : done(done_fn) {}
  Io(const Io&) = delete;
  Io& operator=(const Io&) = delete;

  // The request.
  Done done;
  Op op = Op::kRead;
  bool fua = false;         // kWrite, kWriteZeroes: durable before it finishes
  bool deallocate = false;  // kWriteZeroes
  uint64_t offset = 0;
  uint64_t length = 0;
  std::span<const iovec> buffers;  // kRead, kWrite: together `length` bytes

  // The answer.
  Error error = Error::kNone;

  // The channel's, while the request is under way.
  Io* next = nullptr;
  Io* older = nullptr;
  Io* newer = nullptr;
  Nanoseconds submitted{};  // the reactor's time
  uint64_t progress = 0;
  void* owner = nullptr;
  alignas(16) std::byte scratch[96];
};

// Logical blocks have one of these sizes.
inline constexpr uint32_t kBlockSizes[] = {512, 4096};
inline constexpr uint32_t kDefaultBlockSize = 4096;
constexpr bool valid_block_size(uint32_t bytes) {
  return bytes == kBlockSizes[0] || bytes == kBlockSizes[1];
}

struct Geometry {
  uint32_t block_size = kDefaultBlockSize;
  uint64_t blocks = 0;
  uint32_t buffer_alignment = 1;  // what the addresses of `buffers` must be multiples of
  bool volatile_cache = false;    // completed writes need kFlush to be durable
  bool deallocate = false;        // kDeallocate gives space back
  bool read_only = false;
  uint64_t bytes() const { return blocks * block_size; }
};

class Channel {
 public:
  virtual ~Channel() = default;
  // True: finished, `io.error` is set and done() will not be called. False: done() follows, never
  // from inside submit. Ranges are checked here: a peer's numbers may be passed as they are.
  [[nodiscard]] virtual bool submit(Io& io) = 0;
  // Ends a finished kHold.
  virtual void release(Io& io) = 0;
  // Whether a request of others waits for this finished kHold to be released.
  virtual bool wanted(const Io&) const { return false; }
  // Requests that submit() left pending.
  virtual uint32_t pending() const = 0;
  // How long the oldest pending request has waited by `now`, the reactor's time; zero without any.
  // A store that hangs shows itself by an age that grows.
  virtual Nanoseconds oldest_age(Nanoseconds now) const = 0;
  // Of the requests that submit() left pending and that are done, since the last call.
  virtual Trouble take_trouble() { return {}; }
};

enum class SizeChange : uint8_t { kSame, kGrown, kShrunk };

class Volume {
 public:
  virtual ~Volume() = default;
  // As it is now: `blocks` changes with refresh(), and when a request meets the end of a store that
  // others have cut, from any thread; the rest never does.
  virtual Geometry geometry() const = 0;
  // The address it was opened by.
  virtual const std::string& spec() const = 0;
  // What it is, whatever the address.
  virtual const StoreIdentity& identity() const = 0;
  // Whether the address still leads to this store. NotFound: it leads nowhere; FailedPrecondition:
  // to another one, since the file was replaced; Unavailable: it does, and the kernel uses the file
  // for something else by now, a loop device or swap space. Costs a stat(2), which may block.
  virtual absl::Status still_there() const = 0;
  // Looks at the store's size again, after growing a file that is smaller than `grow_to` bytes
  // (zero: it is not grown), and takes the new one for geometry(). Blocks as still_there() does.
  // Requests beyond the end of a store that has shrunk fail with kOutOfRange, and the first of them
  // makes geometry() smaller.
  virtual absl::StatusOr<SizeChange> refresh(uint64_t grow_to) = 0;
  // The store refuses every request of this volume from now on, because a cluster has fenced its
  // client. Opening it again makes a new client.
  virtual bool fenced() const { return false; }
  // Gives up what keeps other daemons from writing to the store, until the next write. No request
  // is under way. Blocks.
  virtual void yield() {}
  // Memory that reads may gather from without a copy (RAM, null), page aligned, there as long as
  // the volume; register it once. Empty where there is none.
  virtual std::span<std::byte> memory() = 0;
  // Where in memory() the range lies, to be read under a kHold; null when it has to be read by
  // kRead. Requires a range inside the volume.
  virtual std::byte* locate(uint64_t offset, uint64_t length) = 0;
  virtual absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) = 0;

  // Where requests are late that their hosts have given up on. Who submits requests asks first.
  LateRanges& late() { return *late_; }
  // Keeps a compare and write of the store atomic: every write passes it.
  RangeGate& gate() { return *gate_; }
  // What hosts have marked as uncorrectable. Who submits requests asks first.
  BadBlocks& bad_blocks() const { return *bad_blocks_; }
  // Other processes may write to the store, and would not know of marks: hosts cannot set any.
  bool shared() const { return shared_; }
  // Before the volume is served.
  void set_shared() { shared_ = true; }
  // The store is the one that `before` opened: what is late there, or in the gate, is so here, and
  // so are marked blocks. Before any channel.
  void succeed(const Volume& before) {
    late_ = before.late_;
    gate_ = before.gate_;
    bad_blocks_ = before.bad_blocks_;
  }

 private:
  bool shared_ = false;
  std::shared_ptr<LateRanges> late_ = std::make_shared<LateRanges>();
  std::shared_ptr<RangeGate> gate_ = std::make_shared<RangeGate>();
  std::shared_ptr<BadBlocks> bad_blocks_ = std::make_shared<BadBlocks>();
};

class Growth;

struct OpenOptions {
  uint32_t block_size = kDefaultBlockSize;  // one of kBlockSizes
  // An open volume whose place the new one takes, with other options on the same store (memory: the
  // same bytes). Both may be used until the old one is let go of. Of another store: no effect.
  std::shared_ptr<Volume> replaces{};
  // Volumes of this process that have the store are not served any more: their end is waited for,
  // kLeavingPatience at most.
  bool others_leave = false;
  // Where files are noted that are to be made or made larger (growth.h); null: it is done at once.
  Growth* growth = nullptr;
  // For messages: options of the store's place, as "nsid=N", which are no longer in the text.
  std::span<const std::string_view> of_place{};
};

// The block size that `spec` asks for by ",bs=", or `otherwise`.
uint32_t block_size_of(std::string_view spec, uint32_t otherwise);

// Opens "SCHEME:TARGET[,OPTION...]", as help() lists them, each with ",bs=512|4096" to override the
// options; backends.cc has the kinds, spec.h the syntax. InvalidArgument names the fault and the
// fix: a bad part, a size that is not a multiple of the block size. FailedPrecondition names who
// has the store already (claim.h). Blocks: it looks at files, and may wait for others.
absl::StatusOr<std::shared_ptr<Volume>> open(std::string_view spec,
                                             const OpenOptions& options = {});
// Whether open() would take the text. Nothing is opened, or looked at.
absl::Status check(std::string_view spec, const OpenOptions& options = {});
// The other errors of open(), as far as they can be found without opening, making or locking
// anything. OK: a
// store that others use meanwhile, and what only opening for writing shows, as O_DIRECT.
absl::Status check_there(std::string_view spec, const OpenOptions& options = {});
// Bytes of this process that the store may take; zero for one elsewhere.
uint64_t memory_of(std::string_view spec, const OpenOptions& options = {});

// For --help: a line for each kind of storage, how it is written and what it is.
std::string help();
// For messages: "ram:64MiB, null:1TiB, file:/srv/disk.img or rbd:POOL/IMAGE".
std::string examples();

}  // namespace mrpool::storage
