#include "examples/engine/call_filter.h"

#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/sockios.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "examples/engine/system_calls.h"

namespace mrpool::engine {
namespace {

// AddressSanitizer searches for leaks in a separate process, which inspects this one.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// The permitted ioctls: sockets, interfaces, files and devices of stores, the process's memory
// (transport/checks/memory.cc), rdma-core.
constexpr uint64_t kMapQuery = _IOC(_IOC_READ | _IOC_WRITE, 'f', 17, 104);
constexpr std::array<uint64_t, 13> kRequests = {
    FIONBIO,      FIONREAD,    SIOCGIFADDR,     SIOCGIFCONF, SIOCGIFFLAGS,
    SIOCGIFINDEX, SIOCGIFNAME, BLKGETSIZE64,    BLKSSZGET,   LOOP_GET_STATUS64,
    TCGETS,       kMapQuery,   RDMA_VERBS_IOCTL};
constexpr uint64_t kWriteAndExecute = PROT_WRITE | PROT_EXEC;

class Filter {
 public:
  // `others`: the action for calls without a rule.
  explicit Filter(uint32_t others)
      : others_(others), context_(::seccomp_init(others), &::seccomp_release) {
    error_ = context_ == nullptr ? -ENOMEM : 0;
    set(SCMP_FLTATR_CTL_NNP, 1);
    set(SCMP_FLTATR_CTL_TSYNC, 1);
    set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // binary search by number, so that lookups are short
  }
  void set(scmp_filter_attr attribute, uint32_t value) {
    if (error_ == 0) error_ = ::seccomp_attr_set(context_.get(), attribute, value);
  }
  // A call that this processor does not have needs no rule.
  template <typename... Conditions>
  void rule(uint32_t action, std::string_view name, Conditions... conditions) {
    const int call = ::seccomp_syscall_resolve_name(std::string(name).c_str());
    if (error_ != 0 || call == __NR_SCMP_ERROR || action == others_) return;
    error_ = ::seccomp_rule_add(context_.get(), action, call, sizeof...(conditions), conditions...);
  }
  absl::Status load() {
    if (error_ == 0) error_ = ::seccomp_load(context_.get());
    if (error_ == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("--seccomp: the kernel refuses a filter of system calls: ",
                     absl::ErrnoToStatus(-error_, "seccomp").message(),
                     "; under systemd, add SystemCallFilter=seccomp to the unit, or leave it out"));
  }

 private:
  const uint32_t others_;
  const std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  int error_ = 0;
};

void allow_limited(Filter& filter, uint32_t fatal) {
  // Allows threads but not processes. The flags of clone3 are in memory, which a filter cannot
  // read; glibc works without clone3 (hide_clone3).
  const auto flags = [](uint64_t wanted) {
    return SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, wanted);
  };
  filter.rule(SCMP_ACT_ALLOW, "clone", flags(CLONE_THREAD));
  filter.rule(kSanitized ? SCMP_ACT_ALLOW : fatal, "clone", flags(0));
  filter.rule(SCMP_ACT_ALLOW, "clone3");
  for (const uint64_t protection : {PROT_NONE, PROT_WRITE, PROT_EXEC}) {
    filter.rule(SCMP_ACT_ALLOW, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, kWriteAndExecute, protection));
  }
  filter.rule(fatal, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, kWriteAndExecute, kWriteAndExecute));
  filter.rule(SCMP_ACT_ALLOW, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  filter.rule(fatal, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
  for (const uint64_t family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    filter.rule(SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, family, 0));
  }
  for (const uint64_t request : kRequests) {
    filter.rule(SCMP_ACT_ALLOW, "ioctl", SCMP_A1(SCMP_CMP_EQ, request, 0));
  }
  for (const uint64_t what : {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE}) {
    filter.rule(SCMP_ACT_ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, what, 0));
  }
  // Allows reading the limits of this process.
  filter.rule(SCMP_ACT_ALLOW, "prlimit64", SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0));
  // abort(), and messages between this process's threads.
  const auto self = uint64_t(::getpid());
  filter.rule(SCMP_ACT_ALLOW, "tgkill", SCMP_A0(SCMP_CMP_EQ, self, 0));
}

void allow_sanitizers(Filter& filter) {
  for (const std::string_view name : {"getdents", "getppid", "getrusage", "kill", "mincore", "open",
                                      "pipe", "prctl", "ptrace", "sigaltstack", "stat", "wait4"}) {
    filter.rule(SCMP_ACT_ALLOW, name);
  }
}

// A separate filter, so that starts of threads are not logged.
absl::Status hide_clone3() {
  Filter filter(SCMP_ACT_ALLOW);
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  return filter.load();
}

}  // namespace

absl::Status filter_calls(CallFilter how) {
  if (how == CallFilter::kOff) return absl::OkStatus();
  const bool enforce = how == CallFilter::kEnforce;
  const uint32_t fatal = enforce ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_LOG;
  if (absl::Status status = enforce ? hide_clone3() : absl::OkStatus(); !status.ok()) return status;
  Filter filter(enforce ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_LOG);
  filter.set(SCMP_FLTATR_CTL_LOG, 1);
  if (enforce) filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const std::string_view name : kAllowedCalls) filter.rule(SCMP_ACT_ALLOW, name);
  for (const std::string_view name : kFatalCalls) {
    if (!kSanitized || name != "ptrace") filter.rule(fatal, name);
  }
  allow_limited(filter, fatal);
  if (kSanitized) allow_sanitizers(filter);
  return filter.load();
}

}  // namespace mrpool::engine
