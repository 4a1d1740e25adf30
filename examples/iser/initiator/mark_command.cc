// mrpool-iser write-uncorrectable: marks blocks of a unit, so that reads of them fail until they
// are written: WRITE LONG(16) with WR_UNCOR (SBC-3 §5.53), a command for each block.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/load/range.h"

namespace mrpool::iser {
namespace {

struct Job {
  ClientOptions client;
  load::Range range;
};

scsi::Cdb write_long(uint64_t lba) {
  constexpr uint8_t kWriteUncorrectable = 0x40, kWriteLong = 0x11;
  scsi::Cdb cdb{0x9f, kWriteUncorrectable | kWriteLong};
  be::store64(&cdb[2], lba);
  return cdb;
}

absl::Status mark(Client& client, const load::Range& range) {
  const auto unit = client.pin_unit();
  if (!unit.ok()) return unit.status();
  const uint32_t block = unit->capacity.block_size;
  absl::Status status = load::check_blocks(range, unit->capacity.bytes(), block);
  const uint64_t end = (range.offset + range.size) / block;
  for (uint64_t lba = range.offset / block; status.ok() && lba < end; ++lba) {
    status = client.run(write_long(lba), DataDirection::kNone, {});
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("block ", lba, " cannot be marked: ", status.message()));
    }
  }
  return status;
}

int run(const Job& job) {
  auto client = connect(job.client);
  if (!client.ok()) return fail(client.status());
  if (absl::Status status = mark(**client, job.range); !status.ok()) return fail(status);
  (*client)->log_out();
  load::report_marked(job.range, absl::StrCat("LUN ", job.client.lun));
  return base::kExitOk;
}

}  // namespace

void add_write_uncorrectable(base::CommandLine& program) {
  const auto job = std::make_shared<Job>();
  base::CommandLine& command = program.command(
      "write-uncorrectable", "mark blocks, so that reads fail until they are written",
      [job] { return run(*job); });
  add_unit_options(command, job->client);
  command.section("Blocks");
  load::add_options(command, job->range, "first byte of the range", "bytes to mark; required");
  command.examples(
      "  $ mrpool-iser write-uncorrectable uiwarp://127.0.0.1:3260 --target IQN --offset 64KiB "
      "--size 4KiB\n");
}

}  // namespace mrpool::iser
