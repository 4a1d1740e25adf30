#include "examples/nvmf/host/copy.h"

#include <algorithm>
#include <coroutine>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/load/file.h"

namespace mrpool::nvme::host {
namespace {

// One command under way, and the part of the buffer it moves.
class Chunk final : public Request {
 public:
  Chunk() : Request(to_method<&Chunk::finished>) {}

  void submit(Queue& queue, IoOpcode opcode, const NamespaceInfo& ns, uint64_t at, Sge sge) {
    offset = at;
    command = Sqe{};
    command.opcode = uint8_t(opcode);
    command.nsid = ns.nsid;
    if (sge.length != 0) command.set_range(at / ns.block_size, sge.length / ns.block_size);
    data = sge;
    busy = true;
    done_event.reset();
    queue.submit(*this);
  }

  Event done_event;
  Outcome outcome;
  uint64_t offset = 0;  // in the namespace
  uint32_t bytes = 0;   // that the file has of it
  bool busy = false;
  Sge room;

 private:
  void finished(const Outcome& reported) {
    busy = false;
    outcome = reported;
    done_event.set();
  }
};

// Chunks used in turn; the order of use is the order of the file.
struct Ring {
  static absl::StatusOr<std::unique_ptr<Ring>> create(Pd& pd, const CopyOptions& options) {
    auto buffer = load::Buffer::create(pd, size_t(options.chunk) * options.depth);
    if (!buffer.ok()) return buffer.status();
    auto ring = std::make_unique<Ring>(*std::move(buffer));
    for (uint32_t i = 0; i < options.depth; ++i) {
      ring->chunks.push_back(std::make_unique<Chunk>());
      ring->chunks.back()->room = ring->buffer.sge(size_t(i) * options.chunk, options.chunk);
    }
    return ring;
  }
  explicit Ring(load::Buffer memory) : buffer(std::move(memory)) {}
  Chunk& operator[](uint64_t turn) { return *chunks[turn % chunks.size()]; }
  Async<> wait(Chunk& chunk) {
    if (chunk.busy) co_await chunk.done_event;
  }
  // The memory must not go while a command uses it.
  Async<> drain() {
    for (const auto& chunk : chunks) co_await wait(*chunk);
  }

  load::Buffer buffer;
  std::vector<std::unique_ptr<Chunk>> chunks;
};

absl::Status failed(const Queue& queue, const char* what, const Chunk& chunk) {
  const std::string text = absl::StrCat(what, " of ", chunk.data.length, " bytes at ", chunk.offset,
                                        ": ", queue.describe(chunk.outcome.status));
  return ended_here(chunk.outcome.status) ? absl::UnavailableError(text)
                                          : absl::DataLossError(text);
}

// Reads into, or writes from, a piece of memory.
class [[nodiscard]] FileStep {
 public:
  FileStep(load::FileWorker& file, std::span<std::byte> memory, bool writes)
      : file_(file), memory_(memory), writes_(writes) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    auto done = [this, caller](absl::StatusOr<size_t> result) {
      result_ = std::move(result);
      caller.resume();
    };
    if (writes_) {
      file_.write(memory_, done);
    } else {
      file_.read(memory_, done);
    }
  }
  absl::StatusOr<size_t> await_resume() { return std::move(result_); }

 private:
  load::FileWorker& file_;
  const std::span<std::byte> memory_;
  const bool writes_;
  absl::StatusOr<size_t> result_ = size_t{0};
};

uint32_t round_up(uint32_t bytes, uint32_t block) { return (bytes + block - 1) / block * block; }

// The bytes of the last block after the file's last byte stay unchanged.
Async<absl::Status> complete_last_block(Queue& queue, const NamespaceInfo& ns, Ring& ring,
                                        Chunk& chunk, uint64_t at) {
  const uint32_t tail = chunk.bytes % ns.block_size;
  const uint32_t start = chunk.bytes - tail;
  std::vector<std::byte> head(chunk.room.addr + start, chunk.room.addr + chunk.bytes);
  Sge sge = chunk.room;
  sge.addr += start;
  sge.length = ns.block_size;
  chunk.submit(queue, IoOpcode::kRead, ns, at + start, sge);
  co_await ring.wait(chunk);
  if (!ok(chunk.outcome.status)) co_return failed(queue, "read", chunk);
  std::copy(head.begin(), head.end(), sge.addr);
  co_return absl::OkStatus();
}

}  // namespace

Async<absl::StatusOr<uint64_t>> copy_in(Queue& queue, Pd& pd, load::FileWorker& from,
                                        CopyOptions options) {
  auto made = Ring::create(pd, options);
  if (!made.ok()) co_return made.status();
  Ring& ring = **made;
  const load::Range& range = options.range;
  const uint64_t room = options.ns.bytes() - range.offset;
  const uint64_t limit = range.size == 0 ? UINT64_MAX : range.size;
  uint64_t copied = 0;
  absl::Status status;
  for (uint64_t turn = 0; status.ok() && copied < limit; ++turn) {
    Chunk& chunk = ring[turn];
    co_await ring.wait(chunk);
    if (!ok(chunk.outcome.status)) {
      status = failed(queue, "write", chunk);
      break;
    }
    const auto want = uint32_t(std::min<uint64_t>(options.chunk, limit - copied));
    const auto got = co_await FileStep(from, {chunk.room.addr, want}, false);
    if (!got.ok()) status = got.status();
    if (!got.ok() || *got == 0) break;
    chunk.bytes = uint32_t(*got);
    if (copied + chunk.bytes > room) {
      status = load::too_long(range, options.ns.bytes());
      break;
    }
    const uint64_t at = range.offset + copied;
    if (chunk.bytes % options.ns.block_size != 0) {
      status = co_await complete_last_block(queue, options.ns, ring, chunk, at);
      if (!status.ok()) break;
    }
    Sge sge = chunk.room;
    sge.length = round_up(chunk.bytes, options.ns.block_size);
    chunk.submit(queue, IoOpcode::kWrite, options.ns, at, sge);
    copied += chunk.bytes;
    if (!options.progress(copied)) status = absl::CancelledError("interrupted");
    if (*got < want) break;
  }
  co_await ring.drain();
  for (const auto& chunk : ring.chunks) {
    const bool stands = !status.ok() && !absl::IsCancelled(status);
    if (!stands && !ok(chunk->outcome.status)) status = failed(queue, "write", *chunk);
  }
  if (status.ok() && copied == 0) status = load::empty_input();
  if (!status.ok()) co_return status;
  Chunk flush;
  flush.submit(queue, IoOpcode::kFlush, options.ns, 0, {});
  co_await ring.wait(flush);
  if (!ok(flush.outcome.status)) co_return failed(queue, "flush", flush);
  co_return copied;
}

Async<absl::StatusOr<uint64_t>> copy_out(Queue& queue, Pd& pd, load::FileWorker& to,
                                         CopyOptions options) {
  auto made = Ring::create(pd, options);
  if (!made.ok()) co_return made.status();
  Ring& ring = **made;
  const uint64_t size = options.range.bytes(options.ns.bytes());
  uint64_t asked = 0;
  uint64_t copied = 0;
  absl::Status status;
  for (uint64_t turn = 0; status.ok() && copied < size; ++turn) {
    Chunk& chunk = ring[turn];
    if (turn >= options.depth) {
      co_await ring.wait(chunk);
      if (!ok(chunk.outcome.status)) {
        status = failed(queue, "read", chunk);
        break;
      }
      const auto written = co_await FileStep(to, {chunk.room.addr, chunk.bytes}, true);
      status = written.status();
      if (!status.ok()) break;
      copied += chunk.bytes;
      if (!options.progress(copied)) status = absl::CancelledError("interrupted");
    }
    chunk.bytes = uint32_t(std::min<uint64_t>(options.chunk, size - asked));
    if (chunk.bytes == 0) continue;
    Sge sge = chunk.room;
    sge.length = round_up(chunk.bytes, options.ns.block_size);
    chunk.submit(queue, IoOpcode::kRead, options.ns, options.range.offset + asked, sge);
    asked += chunk.bytes;
  }
  co_await ring.drain();
  if (!status.ok()) co_return status;
  co_return copied;
}

}  // namespace mrpool::nvme::host
