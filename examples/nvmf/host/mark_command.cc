// mrpool-nvmf write-uncorrectable: marks blocks of a namespace, so that reads of them fail until
// they are written ([nvm] 3.2.7).
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/load/range.h"
#include "examples/nvmf/host/commands.h"
#include "examples/nvmf/host/host.h"

namespace mrpool::nvme::host {
namespace {

struct Job {
  HostOptions host;
  load::Range range;
};

constexpr uint32_t kMostBlocks = 65536;  // that one command can name

Async<absl::Status> mark_range(Session& session, const Job& job) {
  const auto ns = co_await session.controller().namespace_info(job.host.nsid);
  if (!ns.ok()) co_return ns.status();
  session.pin(*ns);
  absl::Status status = load::check_blocks(job.range, ns->bytes(), ns->block_size);
  if (!status.ok()) co_return status;
  if ((le(uint16_t(session.controller().identity().oncs)) & NVME_CTRL_ONCS_WRITE_UNCORRECTABLE) ==
      0) {
    co_return absl::UnimplementedError("the controller does not have Write Uncorrectable");
  }
  uint64_t next = job.range.offset / ns->block_size;
  uint64_t left = job.range.size / ns->block_size;
  while (left != 0) {
    if (load::Interrupt::heard()) co_return load::Interrupt::status();
    Sqe command;
    command.opcode = uint8_t(IoOpcode::kWriteUncorrectable);
    command.nsid = job.host.nsid;
    const uint32_t blocks = uint32_t(std::min<uint64_t>(left, kMostBlocks));
    command.set_range(next, blocks);
    Queue& queue = session.queue(0);
    const Outcome outcome = co_await queue.execute(command);
    if (!ok(outcome.status)) {
      const std::string text = absl::StrCat("blocks ", next, " to ", next + blocks - 1,
                                            " cannot be marked: ", queue.describe(outcome.status));
      co_return ended_here(outcome.status) ? absl::UnavailableError(text)
                                           : absl::DataLossError(text);
    }
    next += blocks;
    left -= blocks;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> mark(Host& host, const Job& job) {
  Session& session = host.session();
  absl::Status status = co_await session.connect();
  if (!status.ok()) co_return status;
  Reactor* const reactors[] = {&host.reactor()};
  status = co_await session.open_queues(reactors);
  if (status.ok()) status = co_await mark_range(session, job);
  co_await session.disconnect();
  co_return status;
}

int run(const Job& job) {
  auto host = Host::create(job.host, 1, 1);
  if (!host.ok()) return fail(host.status());
  const absl::Status status = (*host)->run(mark(**host, job));
  if (!status.ok()) return fail(status);
  load::report_marked(job.range, absl::StrCat("namespace ", job.host.nsid));
  return kExitOk;
}

}  // namespace

void add_write_uncorrectable(base::CommandLine& program) {
  const auto job = std::make_shared<Job>();
  base::CommandLine& command = program.command(
      "write-uncorrectable", "mark blocks, so that reads fail until they are written",
      [job] { return run(*job); });
  add_options(command, job->host, HostOptionSet::kNamespace);
  command.section("Blocks");
  load::add_options(command, job->range, "first byte of the range", "bytes to mark; required");
  command.examples(
      "  $ mrpool-nvmf write-uncorrectable uiwarp://127.0.0.1:4420 --subnqn NQN --offset 64KiB "
      "--size 4KiB\n");
}

}  // namespace mrpool::nvme::host
