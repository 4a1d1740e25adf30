// mrpool-nvmf read, mrpool-nvmf write: a range of a namespace to and from a file or a pipe.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/load/copy_line.h"
#include "examples/load/file.h"
#include "examples/load/file_worker.h"
#include "examples/nvmf/host/commands.h"
#include "examples/nvmf/host/copy.h"
#include "examples/nvmf/host/host.h"

namespace mrpool::nvme::host {
namespace {

struct Job {
  HostOptions host;
  CopyOptions copy;
  std::string file = "-";
  load::CopyPace pace;
  bool to_namespace = false;
};

// Input is what is known of it before the first byte is written.
absl::Status check(const Job& job, const NamespaceInfo& ns, std::optional<uint64_t> input) {
  absl::Status status = load::check_chunk(job.pace, ns.block_size);
  if (status.ok()) status = load::check_range(job.copy.range, ns.bytes(), ns.block_size);
  return status.ok() ? load::check_input(job.copy.range, ns.bytes(), input) : status;
}

// The file, and the thread that reads or writes it.
struct Stream {
  std::optional<load::File> file;
  std::unique_ptr<load::FileWorker> worker;

  absl::Status open(Host& host, const Job& job) {
    if (!file) {
      auto opened = load::File::open_output(job.file);
      if (!opened.ok()) return opened.status();
      file.emplace(*std::move(opened));
    }
    auto made =
        load::FileWorker::create(host.reactor(), file->fd(), !job.to_namespace && file->named());
    if (made.ok()) worker = *std::move(made);
    return made.status();
  }
  void cancel() const {
    if (worker != nullptr) worker->cancel();
  }
};

Async<absl::StatusOr<uint64_t>> copy_range(Host& host, Job& job, Stream& stream) {
  Session& session = host.session();
  const auto ns = co_await session.controller().namespace_info(job.host.nsid);
  if (!ns.ok()) co_return ns.status();
  session.pin(*ns);
  absl::Status status =
      check(job, *ns, job.to_namespace ? stream.file->left() : std::optional<uint64_t>());
  if (status.ok()) status = stream.open(host, job);
  if (!status.ok()) co_return status;
  Reactor* const reactors[] = {&host.reactor()};
  status = co_await session.open_queues(reactors);
  if (!status.ok()) co_return status;
  job.copy.ns = *ns;
  const uint64_t limit = session.controller().max_transfer() / ns->block_size * ns->block_size;
  job.copy.chunk = uint32_t(std::min<uint64_t>(job.pace.chunk, limit));
  job.copy.depth = job.pace.depth;
  if (job.to_namespace) {
    co_return co_await copy_in(session.queue(0), host.pd(), *stream.worker, job.copy);
  }
  co_return co_await copy_out(session.queue(0), host.pd(), *stream.worker, job.copy);
}

Async<absl::StatusOr<uint64_t>> copy_all(Host& host, Job& job, Stream& stream) {
  const absl::Status status = co_await host.session().connect();
  if (!status.ok()) co_return status;
  host.on_interrupt([&stream](load::Interrupt::Step) { stream.cancel(); });
  auto copied = co_await copy_range(host, job, stream);
  // What ended the session, or another namespace there, ended commands and the wait for a pipe too.
  const bool of_command = absl::IsDataLoss(copied.status()) || absl::IsCancelled(copied.status()) ||
                          absl::IsUnavailable(copied.status());
  absl::Status cause;
  // GCC 12 destroys temporaries of conditional expressions with co_await twice.
  if (of_command && !load::Interrupt::heard()) cause = co_await host.session().cause();
  co_await host.session().disconnect();
  if (!cause.ok()) co_return cause;
  co_return copied;
}

int run(Job& job) {
  Stream stream;
  if (job.to_namespace) {
    auto input = load::File::open_input(job.file);
    if (!input.ok()) return fail(input.status());
    stream.file.emplace(*std::move(input));
  } else if (absl::Status status = load::File::check_output(job.file); !status.ok()) {
    return fail(status);
  }
  auto host = Host::create(job.host, 1, uint16_t(job.pace.depth));
  if (!host.ok()) return fail(host.status());
  const uint64_t known = job.to_namespace ? stream.file->left().value_or(0) : 0;
  load::CopyLine progress(job.pace.eta, job.copy.range.size != 0 ? job.copy.range.size : known);
  job.copy.progress = [&progress](uint64_t bytes) { return progress.update(bytes); };
  (*host)->on_over([&stream](const absl::Status&) { stream.cancel(); });
  const auto copied = (*host)->run(copy_all(**host, job, stream));
  stream.worker.reset();  // it uses the host's reactor
  progress.finish();
  if (!copied.ok()) return fail(copied.status());
  progress.report(job.to_namespace ? "wrote" : "read", *copied, job.copy.range.offset,
                  absl::StrCat("namespace ", job.host.nsid));
  return kExitOk;
}

void add_copy(base::CommandLine& program, bool to_namespace) {
  const auto job = std::make_shared<Job>();
  job->to_namespace = to_namespace;
  base::CommandLine& command =
      program.command(to_namespace ? "write" : "read",
                      to_namespace ? "copy a file or stdin to a range of a namespace"
                                   : "copy a range of a namespace to a file or stdout",
                      [job] { return run(*job); });
  add_options(command, job->host, HostOptionSet::kNamespace);
  command.section("Copy");
  if (to_namespace) {
    command.text("input", "FILE", "the file to read; - is stdin", job->file);
  } else {
    command.text("output", "FILE", "the file to write; - is stdout", job->file);
  }
  load::add_options(command, job->copy.range, "first byte of the range",
                    to_namespace ? "bytes at most (default: to the end of the input)"
                                 : "bytes (default: to the end of the namespace)");
  load::add_options(command, job->pace, kMaxDepth);
  command.examples(
      to_namespace
          ? "  $ mrpool-nvmf write uiwarp://127.0.0.1:4420 --subnqn NQN --input disk.img\n"
            "  $ zcat disk.img.gz | mrpool-nvmf write uiwarp://127.0.0.1:4420 --subnqn NQN\n"
          : "  $ mrpool-nvmf read uiwarp://127.0.0.1:4420 --subnqn NQN --size 48MiB --output "
            "a.img\n"
            "  $ mrpool-nvmf read uiwarp://127.0.0.1:4420 --subnqn NQN --nsid 2 | sha256sum\n");
}

}  // namespace

void add_read(base::CommandLine& program) { add_copy(program, false); }
void add_write(base::CommandLine& program) { add_copy(program, true); }

}  // namespace mrpool::nvme::host
