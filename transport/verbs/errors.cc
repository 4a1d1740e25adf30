#include "transport/verbs/errors.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::verbs {
namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::Status errno_status(int error, std::string_view what, std::string_view device) {
  return absl::ErrnoToStatus(error, absl::StrCat(view(what), " on ", view(device)));
}

absl::Status registration_status(int error, size_t bytes, std::string_view device) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const bool limited = limit.rlim_cur != RLIM_INFINITY;
  if ((error == ENOMEM || error == EAGAIN || error == EPERM) && limited) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "registering ", bytes, " bytes on ", view(device), " failed: ", std::strerror(error),
        "; this process may lock ", limit.rlim_cur, " bytes in all (`ulimit -l` says ",
        limit.rlim_cur / 1024,
        "): raise it with `ulimit -l unlimited` or LimitMEMLOCK=infinity in the service"));
  }
  return errno_status(error, absl::StrCat("registering ", bytes, " bytes"), device);
}

absl::Status check_limit(std::string_view name, uint64_t wanted, uint64_t limit,
                         std::string_view device) {
  if (wanted <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(view(device), " has ", view(name), " = ", limit,
                                                   ", which is less than the ", wanted,
                                                   " asked for"));
}

WcStatus to_status(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return WcStatus::kSuccess;
    case IBV_WC_LOC_LEN_ERR:
      return WcStatus::kLocalLength;
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
      return WcStatus::kLocalProtection;
    case IBV_WC_WR_FLUSH_ERR:
      return WcStatus::kFlushed;
    case IBV_WC_MW_BIND_ERR:
      return WcStatus::kBind;
    case IBV_WC_REM_INV_REQ_ERR:
      return WcStatus::kRemoteInvalidRequest;
    case IBV_WC_REM_ACCESS_ERR:
      return WcStatus::kRemoteAccess;
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_ABORT_ERR:
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return WcStatus::kRemoteOperation;
    default:
      return WcStatus::kTransport;
  }
}

void check_thread([[maybe_unused]] const Reactor& reactor, [[maybe_unused]] const char* call) {
#ifndef NDEBUG
  if (!reactor.in_thread()) die(call);
#endif
}

// Not printf: this may run with the process in any state.
void die(const char* message) {
  constexpr std::string_view kHead = "mrpool verbs: broken rule: ";
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, kHead.data(), kHead.size());
  n = ::write(STDERR_FILENO, message, std::strlen(message));
  n = ::write(STDERR_FILENO, "\n", 1);
  std::abort();
}

}  // namespace mrpool::verbs
