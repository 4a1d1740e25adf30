// mrpool-iser read, mrpool-iser write: a range of a unit to and from a file or a pipe.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/load/file.h"
#include "examples/load/file_worker.h"
#include "examples/load/range.h"

namespace mrpool::iser {
namespace {

constexpr size_t kAtOnce = 256 << 10;
static_assert(kAtOnce % kLargestUnitBlock == 0);

// What read and write are asked for.
struct Copy {
  ClientOptions client;
  load::Range range{};
  std::string file = "-";
};

uint64_t round_up(uint64_t bytes, uint32_t block_size) {
  return (bytes + block_size - 1) / block_size * block_size;
}

// Reads or writes while the session's loop runs, and answers its pings.
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

absl::Status copy_out(Client& client, const Copy& copy) {
  const auto unit = client.pin_unit();
  if (!unit.ok()) return unit.status();
  const Capacity& capacity = unit->capacity;
  absl::Status status = load::check_range(copy.range, capacity.bytes(), capacity.block_size);
  if (!status.ok()) return status;
  const auto output = load::File::open_output(copy.file);
  if (!output.ok()) return output.status();
  const auto to = load::FileWorker::create(client.reactor(), output->fd(), output->named());
  if (!to.ok()) return to.status();
  client.on_interrupt([&file = **to](load::Interrupt::Step) { file.cancel(); });
  std::vector<std::byte> data(kAtOnce);
  uint64_t at = copy.range.offset;
  const uint64_t end = at + copy.range.bytes(capacity.bytes());
  do {
    const auto part = std::span(data).first(std::min<uint64_t>(end - at, data.size()));
    const auto blocks = std::span(data).first(round_up(part.size(), capacity.block_size));
    status = client.transfer(false, capacity, at, blocks);
    if (!status.ok()) return status;
    const auto written = move(client, **to, part, true);
    if (!written.ok()) return written.status();
    at += part.size();
  } while (at != end);
  return absl::OkStatus();
}

// The first bytes of `data`, which has room for whole blocks. What the unit holds behind them,
// within the last block, stays as it is.
absl::Status write_part(Client& client, const Capacity& capacity, uint64_t at,
                        std::span<std::byte> data, size_t bytes) {
  const size_t tail = bytes % capacity.block_size;
  if (tail != 0) {
    std::vector<std::byte> last(capacity.block_size);
    absl::Status status = client.transfer(false, capacity, at + bytes - tail, last);
    if (!status.ok()) return status;
    std::ranges::copy(std::span(last).subspan(tail), data.begin() + ptrdiff_t(bytes));
  }
  return client.transfer(true, capacity, at, data.first(round_up(bytes, capacity.block_size)));
}

absl::Status copy_in(Client& client, const Copy& copy, const load::File& input, uint64_t& written) {
  const auto unit = client.pin_unit();
  if (!unit.ok()) return unit.status();
  const Capacity& capacity = unit->capacity;
  const uint64_t store = capacity.bytes();
  absl::Status status = load::check_range(copy.range, store, capacity.block_size);
  if (status.ok()) status = load::check_input(copy.range, store, input.left());
  if (!status.ok()) return status;
  const auto from = load::FileWorker::create(client.reactor(), input.fd());
  if (!from.ok()) return from.status();
  client.on_interrupt([&file = **from](load::Interrupt::Step) { file.cancel(); });
  std::vector<std::byte> data(kAtOnce);
  uint64_t left = copy.range.bytes(store);
  while (left != 0) {
    const auto room = std::span(data).first(std::min<uint64_t>(left, data.size()));
    const auto got = move(client, **from, room, false);
    if (!got.ok()) return got.status();
    if (*got == 0) break;
    status = write_part(client, capacity, copy.range.offset + written, data, *got);
    if (!status.ok()) return status;
    left -= *got;
    written += *got;
  }
  if (copy.range.size == 0 && left == 0) {
    const auto more = move(client, **from, std::span(data).first(1), false);
    if (!more.ok()) return more.status();
    if (*more != 0) return load::too_long(copy.range, store);
  }
  if (written == 0) return load::empty_input();
  // Acknowledged to the caller means durable.
  return client.run(scsi::Cdb{0x35}, DataDirection::kNone, {});
}

template <typename Work>
absl::Status with_client(const ClientOptions& options, Work work) {
  const auto client = connect(options);
  if (!client.ok()) return client.status();
  absl::Status status = work(**client);
  (*client)->on_interrupt(nullptr);
  (*client)->log_out();
  return status;
}

int read(const Copy& copy) {
  absl::Status status = load::File::check_output(copy.file);
  if (!status.ok()) return fail(status);
  status = with_client(copy.client, [&](Client& client) { return copy_out(client, copy); });
  return status.ok() ? base::kExitOk : fail(status);
}

int write(const Copy& copy) {
  const auto input = load::File::open_input(copy.file);
  if (!input.ok()) return fail(input.status());
  uint64_t written = 0;
  const absl::Status status = with_client(
      copy.client, [&](Client& client) { return copy_in(client, copy, *input, written); });
  if (!status.ok()) return fail(status);
  std::fprintf(stderr, "%llu bytes written\n", static_cast<unsigned long long>(written));
  return base::kExitOk;
}

}  // namespace

void add_read(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  base::CommandLine& command = program.command(
      "read", "copy a unit, or a range of it, to a file or stdout", [copy] { return read(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("output", "FILE", "where to; - is stdout", copy->file);
  load::add_options(command, copy->range, "first byte of the range",
                    "bytes (default: to the end of the unit)");
  command.examples(
      "  $ mrpool-iser read uiwarp://127.0.0.1:3260 --target IQN --size 48MiB "
      "--output a.img\n");
}

void add_write(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  base::CommandLine& command = program.command("write", "copy a file or stdin to a range of a unit",
                                               [copy] { return write(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("input", "FILE", "what to write; - is stdin", copy->file);
  load::add_options(command, copy->range, "first byte of the range",
                    "bytes at most (default: to the end of the input)");
  command.examples("  $ mrpool-iser write uiwarp://127.0.0.1:3260 --target IQN --input disk.img\n");
}

}  // namespace mrpool::iser
