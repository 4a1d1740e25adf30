// mrpool-iser read and write: copy a range of a unit to or from a file or a pipe.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/iser/initiator/copy_ring.h"
#include "examples/load/copy_line.h"
#include "examples/load/file.h"
#include "examples/load/file_worker.h"
#include "examples/load/range.h"

namespace mrpool::iser {
namespace {

// The options of read and write.
struct Copy {
  ClientOptions client;
  load::Range range{};
  std::string file = "-";
  load::CopyPace pace{};
};

// Reads or writes the file while the session's loop runs, so that it answers pings.
absl::StatusOr<size_t> move(Client& client, load::FileWorker& file, std::span<std::byte> memory,
                            bool writes) {
  absl::StatusOr<size_t> moved = size_t{0};
  client.wait([&](const std::function<void()>& done) {
    const auto finished = [&moved, done](absl::StatusOr<size_t> result) {
      moved = std::move(result);
      done();
    };
    if (writes) {
      file.write(memory, finished);
    } else {
      file.read(memory, finished);
    }
  });
  return moved;
}

// The unit, the ring of its commands, and the file.
struct Work {
  Client& client;
  Unit unit;
  std::unique_ptr<load::FileWorker> file{};
  std::unique_ptr<CopyRing> ring{};

  static absl::StatusOr<Unit> find_unit(Client& client, const Copy& copy) {
    auto unit = client.pin_unit();
    if (!unit.ok()) return unit.status();
    const Capacity& capacity = unit->capacity;
    absl::Status status = load::check_chunk(copy.pace, capacity.block_size);
    if (status.ok()) status = load::check_range(copy.range, capacity.bytes(), capacity.block_size);
    if (!status.ok()) return status;
    return unit;
  }
  absl::Status start(const Copy& copy, int fd, bool empties) {
    auto worker = load::FileWorker::create(client.reactor(), fd, empties);
    if (!worker.ok()) return worker.status();
    file = *std::move(worker);
    auto made = CopyRing::create(client, unit, copy.pace);
    if (!made.ok()) return made.status();
    ring = *std::move(made);
    client.on_interrupt([this](load::Interrupt::Step) {
      file->cancel();
      ring->hurry();
    });
    return absl::OkStatus();
  }
  ~Work() { client.on_interrupt(nullptr); }
};

absl::Status copy_out(Work& work, const Copy& copy, load::CopyLine& line, uint64_t& copied) {
  const uint64_t size = copy.range.bytes(work.unit.capacity.bytes());
  uint64_t asked = 0;
  for (uint64_t turn = 0; copied < size; ++turn) {
    CopyRing::Chunk& chunk = (*work.ring)[turn];
    if (turn >= copy.pace.depth) {
      if (absl::Status status = work.ring->wait(chunk); !status.ok()) return status;
      const auto part = chunk.memory().first(chunk.bytes);
      const auto written = move(work.client, *work.file, part, true);
      if (!written.ok()) return written.status();
      copied += chunk.bytes;
      if (!line.update(copied)) return load::Interrupt::status();
    }
    chunk.bytes = uint32_t(std::min<uint64_t>(copy.pace.chunk, size - asked));
    if (chunk.bytes == 0) continue;
    work.ring->submit(chunk, false, copy.range.offset + asked);
    asked += chunk.bytes;
  }
  return absl::OkStatus();
}

// Fills the last block with the unit's own data after the file's last byte.
absl::Status complete_last_block(Work& work, const CopyRing::Chunk& chunk, uint64_t at) {
  const uint32_t block_size = work.unit.capacity.block_size;
  const uint32_t tail = chunk.bytes % block_size;
  if (tail == 0) return absl::OkStatus();
  std::vector<std::byte> last(block_size);
  absl::Status status =
      work.client.transfer(false, work.unit.capacity, at + chunk.bytes - tail, last);
  if (!status.ok()) return status;
  std::ranges::copy(std::span(last).subspan(tail), chunk.memory().begin() + chunk.bytes);
  return absl::OkStatus();
}

absl::Status copy_in(Work& work, const Copy& copy, load::CopyLine& line, uint64_t& copied) {
  const uint64_t room = work.unit.capacity.bytes() - copy.range.offset;
  const uint64_t limit = copy.range.size == 0 ? UINT64_MAX : copy.range.size;
  for (uint64_t turn = 0; copied < limit; ++turn) {
    CopyRing::Chunk& chunk = (*work.ring)[turn];
    if (absl::Status status = work.ring->wait(chunk); !status.ok()) return status;
    const uint64_t want = std::min<uint64_t>(copy.pace.chunk, limit - copied);
    const auto got = move(work.client, *work.file, chunk.memory().first(want), false);
    if (!got.ok()) return got.status();
    if (*got == 0) break;
    if (copied + *got > room) return load::too_long(copy.range, work.unit.capacity.bytes());
    chunk.bytes = uint32_t(*got);
    const uint64_t at = copy.range.offset + copied;
    if (absl::Status status = complete_last_block(work, chunk, at); !status.ok()) return status;
    work.ring->submit(chunk, true, at);
    copied += chunk.bytes;
    if (!line.update(copied)) return load::Interrupt::status();
    if (*got < want) break;
  }
  return copied == 0 ? load::empty_input() : absl::OkStatus();
}

// Waits for active commands before their memory is released. Then checks the unit again, because a
// smaller unit that replaced it unnoticed refuses commands beyond its end.
absl::Status end(Work& work, absl::Status status) {
  const absl::Status drained = work.ring->drain();
  status.Update(drained);
  if (absl::IsDataLoss(status) && !load::Interrupt::heard()) {
    if (const absl::Status same = work.client.check_pinned(); absl::IsAborted(same)) return same;
  }
  return status;
}

template <typename Call>
absl::Status with_client(const ClientOptions& options, Call call) {
  const auto client = connect(options);
  if (!client.ok()) return client.status();
  absl::Status status = call(**client);
  (*client)->log_out();
  return status;
}

absl::Status read_unit(Client& client, const Copy& copy, load::CopyLine& line, uint64_t& copied) {
  auto unit = Work::find_unit(client, copy);
  if (!unit.ok()) return unit.status();
  const auto output = load::File::open_output(copy.file);
  if (!output.ok()) return output.status();
  Work work{client, *std::move(unit)};
  absl::Status status = work.start(copy, output->fd(), output->named());
  return status.ok() ? end(work, copy_out(work, copy, line, copied)) : status;
}

absl::Status write_unit(Client& client, const Copy& copy, const load::File& input,
                        load::CopyLine& line, uint64_t& copied) {
  auto unit = Work::find_unit(client, copy);
  if (!unit.ok()) return unit.status();
  absl::Status status = load::check_input(copy.range, unit->capacity.bytes(), input.left());
  if (!status.ok()) return status;
  Work work{client, *std::move(unit)};
  status = work.start(copy, input.fd(), false);
  if (status.ok()) status = end(work, copy_in(work, copy, line, copied));
  // Written data must be durable before success is reported.
  return status.ok() ? client.run(scsi::Cdb{0x35}, DataDirection::kNone, {}) : status;
}

int read(Copy& copy) {
  absl::Status status = load::File::check_output(copy.file);
  if (status.ok()) status = check_bs(copy.pace.chunk);
  if (!status.ok()) return fail(status);
  copy.client.depth = copy.pace.depth;
  load::CopyLine line(copy.pace.eta, copy.range.size);
  uint64_t copied = 0;
  status = with_client(copy.client,
                       [&](Client& client) { return read_unit(client, copy, line, copied); });
  line.finish();
  if (!status.ok()) return fail(status);
  line.report("read", copied, copy.range.offset, absl::StrCat("LUN ", copy.client.lun));
  return base::kExitOk;
}

int write(Copy& copy) {
  const auto input = load::File::open_input(copy.file);
  if (!input.ok()) return fail(input.status());
  if (absl::Status status = check_bs(copy.pace.chunk); !status.ok()) return fail(status);
  copy.client.depth = copy.pace.depth;
  const uint64_t known = input->left().value_or(0);
  load::CopyLine line(copy.pace.eta, copy.range.size != 0 ? copy.range.size : known);
  uint64_t copied = 0;
  const absl::Status status = with_client(
      copy.client, [&](Client& client) { return write_unit(client, copy, *input, line, copied); });
  line.finish();
  if (!status.ok()) return fail(status);
  line.report("wrote", copied, copy.range.offset, absl::StrCat("LUN ", copy.client.lun));
  return base::kExitOk;
}

}  // namespace

void add_read(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  base::CommandLine& command = program.command(
      "read", "copy a unit, or a range of it, to a file or stdout", [copy] { return read(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("output", "FILE", "the file to write; - is stdout", copy->file);
  load::add_options(command, copy->range, "first byte of the range",
                    "bytes (default: to the end of the unit)");
  load::add_options(command, copy->pace, kMaxDepth);
  command.examples(
      "  $ mrpool-iser read uiwarp://127.0.0.1:3260 --target IQN --size 48MiB "
      "--output a.img\n");
}

void add_write(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  // A target reports a replaced unit in the answer to a single command; writes that were sent after
  // that command would reach the other unit.
  copy->pace.depth = 1;
  base::CommandLine& command = program.command("write", "copy a file or stdin to a range of a unit",
                                               [copy] { return write(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("input", "FILE", "the file to read; - is stdin", copy->file);
  load::add_options(command, copy->range, "first byte of the range",
                    "bytes at most (default: to the end of the input)");
  load::add_options(command, copy->pace, kMaxDepth);
  command.examples("  $ mrpool-iser write uiwarp://127.0.0.1:3260 --target IQN --input disk.img\n");
}

}  // namespace mrpool::iser
