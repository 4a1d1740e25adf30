#include "examples/load/copy_line.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/load/interrupt.h"

namespace mrpool::load {

void add_options(base::CommandLine& command, CopyPace& pace, uint32_t most) {
  command.size("bs", "bytes of one command", pace.chunk, {.least = 1});
  command.count("iodepth", "outstanding commands", pace.depth, {.least = 1, .most = most});
  command.choice<std::string>("eta", "the live line on stderr; auto: on a terminal", pace.eta,
                              {{"auto", "auto"}, {"always", "always"}, {"never", "never"}});
}

absl::Status check_chunk(const CopyPace& pace, uint32_t block_size) {
  if (pace.chunk != 0 && pace.chunk % block_size == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--bs ", pace.chunk, " is not a multiple of the block size ", block_size));
}

CopyLine::CopyLine(const std::string& eta, uint64_t total)
    : show_(eta == "always" || (eta == "auto" && isatty(STDERR_FILENO))), total_(total) {}

bool CopyLine::update(uint64_t bytes) {
  const auto now = Clock::now();
  if (show_ && now - last_ > std::chrono::milliseconds(100)) {
    last_ = now;
    std::fprintf(stderr, "\r\033[K%s", line(bytes).c_str());
    shown_ = true;
  }
  return !Interrupt::heard();
}

void CopyLine::finish() const {
  if (shown_) std::fputs("\r\033[K", stderr);
}

std::string CopyLine::line(uint64_t bytes) const {
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

void CopyLine::report(const char* verb, uint64_t bytes, uint64_t offset,
                      const std::string& store) const {
  const double seconds = std::chrono::duration<double>(elapsed()).count();
  std::fprintf(stderr, "%s %s (%llu bytes) at offset %llu of %s in %s, %s/s\n", verb,
               base::format_size(bytes).c_str(), static_cast<unsigned long long>(bytes),
               static_cast<unsigned long long>(offset), store.c_str(),
               base::format_duration(elapsed()).c_str(),
               base::format_size(uint64_t(double(bytes) / seconds)).c_str());
}

}  // namespace mrpool::load
