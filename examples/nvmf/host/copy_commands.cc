// mrpool-nvmf read, mrpool-nvmf write: a range of a namespace to and from a file or a pipe.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/nvmf/host/commands.h"
#include "examples/nvmf/host/copy.h"
#include "examples/nvmf/host/host.h"

namespace mrpool::nvme::host {
namespace {

using Clock = std::chrono::steady_clock;

struct Job {
  HostOptions host;
  CopyOptions copy;
  std::string file = "-";
  std::string eta = "auto";
  bool to_namespace = false;
};

// Closes what it opened; "-" is stdin or stdout.
class File {
 public:
  static absl::StatusOr<File> open(const std::string& path, bool to_write) {
    if (path == "-") return File(to_write ? STDOUT_FILENO : STDIN_FILENO, false);
    const int fd = to_write ? ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
                            : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", std::strerror(errno)));
    }
    return File(fd, true);
  }
  File(File&& other) noexcept : fd_(other.fd_), ours_(std::exchange(other.ours_, false)) {}
  File& operator=(File&&) = delete;
  ~File() {
    if (ours_) ::close(fd_);
  }
  int fd() const { return fd_; }
  // 0 where nobody knows.
  uint64_t size() const {
    struct stat info {};
    return fstat(fd_, &info) == 0 && S_ISREG(info.st_mode) ? uint64_t(info.st_size) : 0;
  }

 private:
  File(int fd, bool ours) : fd_(fd), ours_(ours) {}
  int fd_;
  bool ours_;
};

class ProgressLine {
 public:
  ProgressLine(bool show, uint64_t total) : show_(show), total_(total) {}
  bool update(uint64_t bytes) {
    const auto now = Clock::now();
    if (show_ && now - last_ > std::chrono::milliseconds(100)) {
      last_ = now;
      std::fprintf(stderr, "\r\033[K%s", line(bytes).c_str());
      shown_ = true;
    }
    return !Host::interrupted();
  }
  void finish() const {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  Clock::duration elapsed() const { return Clock::now() - begun_; }

 private:
  std::string line(uint64_t bytes) const {
    const double seconds = std::chrono::duration<double>(elapsed()).count();
    std::string text = base::format_size(bytes);
    if (total_ != 0) {
      absl::StrAppend(&text, " of ", base::format_size(total_), ", ", bytes * 100 / total_, "%");
    }
    if (seconds > 0) {
      absl::StrAppend(&text, ", ", base::format_size(uint64_t(double(bytes) / seconds)), "/s");
    }
    return text;
  }

  const bool show_;
  const uint64_t total_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point last_{};
  bool shown_ = false;
};

absl::Status check(const Job& job, const NamespaceInfo& ns) {
  if (job.copy.offset % ns.block_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--offset ", job.copy.offset, " is not a multiple of the block size ", ns.block_size));
  }
  if (job.copy.chunk == 0 || job.copy.chunk % ns.block_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--bs ", job.copy.chunk, " is not a multiple of the block size ", ns.block_size));
  }
  if (job.copy.offset > ns.bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--offset ", job.copy.offset, " is beyond the end of the namespace at ", ns.bytes()));
  }
  return absl::OkStatus();
}

Async<absl::StatusOr<uint64_t>> copy_all(Host& host, Job job, int fd) {
  Session& session = host.session();
  absl::Status status = co_await session.connect();
  if (!status.ok()) co_return status;
  host.take_signals();
  absl::StatusOr<uint64_t> copied = 0;
  const auto ns = co_await session.controller().namespace_info(job.host.nsid);
  status = ns.ok() ? check(job, *ns) : ns.status();
  if (status.ok()) {
    Reactor* const reactors[] = {&host.reactor()};
    status = co_await session.open_queues(reactors);
  }
  if (status.ok()) {
    job.copy.ns = *ns;
    const uint64_t limit = session.controller().max_transfer() / ns->block_size * ns->block_size;
    job.copy.chunk = uint32_t(std::min<uint64_t>(job.copy.chunk, limit));
    if (job.to_namespace) {
      copied = co_await copy_in(session.queue(0), host.pd(), fd, job.copy);
    } else {
      copied = co_await copy_out(session.queue(0), host.pd(), fd, job.copy);
    }
  }
  co_await session.disconnect();
  if (!status.ok()) co_return status;
  co_return copied;
}

int run(Job& job) {
  auto file = File::open(job.file, !job.to_namespace);
  if (!file.ok()) return fail(file.status());
  auto host = Host::create(job.host, 1, uint16_t(job.copy.depth));
  if (!host.ok()) return fail(host.status());
  const bool show = job.eta == "always" || (job.eta == "auto" && isatty(STDERR_FILENO));
  ProgressLine progress(show,
                        job.copy.size != 0 || !job.to_namespace ? job.copy.size : file->size());
  job.copy.progress = [&progress](uint64_t bytes) { return progress.update(bytes); };
  const auto copied = (*host)->run(copy_all(**host, job, file->fd()));
  progress.finish();
  if (!copied.ok()) return fail(copied.status());
  const double seconds = std::chrono::duration<double>(progress.elapsed()).count();
  std::fprintf(stderr, "%s %s (%llu bytes) at offset %llu of namespace %u in %s, %s/s\n",
               job.to_namespace ? "wrote" : "read", base::format_size(*copied).c_str(),
               static_cast<unsigned long long>(*copied),
               static_cast<unsigned long long>(job.copy.offset), job.host.nsid,
               base::format_duration(progress.elapsed()).c_str(),
               base::format_size(uint64_t(double(*copied) / seconds)).c_str());
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
    command.text("input", "FILE", "what to write; - is stdin", job->file);
  } else {
    command.text("output", "FILE", "where to; - is stdout", job->file);
  }
  command.size("offset", "first byte of the range", job->copy.offset);
  command.size("size",
               to_namespace ? "bytes at most (default: to the end of the input)"
                            : "bytes (default: to the end of the namespace)",
               job->copy.size);
  command.size("bs", "bytes of one command", job->copy.chunk, {.least = 1});
  command.count("iodepth", "commands under way", job->copy.depth, {.least = 1, .most = kMaxDepth});
  command.choice<std::string>("eta", "the live line on stderr; auto: on a terminal", job->eta,
                              {{"auto", "auto"}, {"always", "always"}, {"never", "never"}});
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
