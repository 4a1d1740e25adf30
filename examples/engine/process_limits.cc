#include "examples/engine/process_limits.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/log.h"
#include "examples/engine/limits.h"
#include "examples/storage/descriptor.h"

namespace mrpool::engine {
namespace {

// Raises the soft limit to the hard limit and returns it.
uint64_t raised(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(resource, &limit);  // if refused, the old limit is read below
  (void)::getrlimit(resource, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? ~uint64_t{0} : limit.rlim_cur;
}

uint64_t descriptors_in_use() {
  std::error_code error;
  uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  return count;
}

// With CAP_IPC_LOCK the limit of locked memory does not apply.
bool may_lock_anything() {
  constexpr uint64_t kIpcLock = uint64_t{1} << 14;
  const auto status = storage::read_text("/proc/self/status");
  if (!status.ok()) return false;
  for (const absl::string_view line : absl::StrSplit(*status, '\n')) {
    uint64_t effective = 0;
    if (line.substr(0, 7) == "CapEff:" && absl::SimpleHexAtoi(line.substr(8), &effective)) {
      return (effective & kIpcLock) != 0;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> fit(const ProcessLimits& limits, const ProcessNeeds& needs,
                             Options& options) {
  std::vector<std::string> lacking;
  const uint64_t others = limits.descriptors_in_use + needs.threads * kDescriptorsOfThread +
                          needs.stores + needs.ports * kDescriptorsOfPort + kSpareDescriptors;
  const uint64_t left = limits.descriptors > others ? limits.descriptors - others : 0;
  const uint64_t wanted = uint64_t{needs.threads} * options.max_connections;
  options.possible_connections = uint32_t(
      std::clamp<uint64_t>(left / needs.threads, 1, std::max(options.max_connections, 1u)));
  if (left < wanted) {
    lacking.push_back(absl::StrCat(
        "only ", uint64_t{options.possible_connections} * needs.threads, " of ", wanted,
        " connections are possible: they need ", wanted + others, " descriptors, the limit is ",
        limits.descriptors,
        "; raise it (ulimit -Hn, LimitNOFILE= of systemd) or lower --max-connections"));
  }
  const uint64_t staging = needs.threads * options.staging;
  if (needs.verbs && limits.locked_memory < staging) {
    lacking.push_back(
        absl::StrCat("verbs devices lock the memory that they use: the staging memory needs ",
                     staging >> 20, " MiB, the limit is ", limits.locked_memory >> 20,
                     " MiB; raise it (ulimit -Hl, LimitMEMLOCK= of systemd)"));
  }
  return lacking;
}

void fit_to_process(const char* program, std::span<const std::string> listen, size_t stores,
                    Options& options) {
  const uint64_t locked = raised(RLIMIT_MEMLOCK);
  const ProcessLimits limits{.descriptors = raised(RLIMIT_NOFILE),
                             .descriptors_in_use = descriptors_in_use(),
                             .locked_memory = may_lock_anything() ? ~uint64_t{0} : locked};
  const ProcessNeeds needs{.threads = options.threads,
                           .stores = stores,
                           .ports = listen.size(),
                           .verbs = std::ranges::any_of(listen, [](const std::string& address) {
                             return address.starts_with("verbs:");
                           })};
  for (const std::string& line : fit(limits, needs, options)) {
    base::log({.event = base::Event::kProcessLimit, .message = absl::StrCat(program, ": ", line)});
  }
}

}  // namespace mrpool::engine
