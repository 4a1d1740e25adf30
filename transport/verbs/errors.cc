#include "transport/verbs/errors.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "mrpool/internal/report.h"

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

absl::Status dmabuf_status(int error, int fd, std::string_view device) {
  if (error == EOPNOTSUPP || error == ENOSYS || error == EPROTONOSUPPORT) {
    return absl::UnimplementedError(absl::StrCat(
        view(device), " does not register dma-bufs: its driver has no reg_user_mr_dmabuf"));
  }
  if (error == EBADF || error == EINVAL) {
    return absl::InvalidArgumentError(absl::StrCat("registering descriptor ", fd, " on ",
                                                   view(device), " failed: ", std::strerror(error),
                                                   "; it must be a dma-buf that covers the range, "
                                                   "and huge pages, memory windows and on-demand "
                                                   "paging do not go with it"));
  }
  return errno_status(error, absl::StrCat("registering dma-buf ", fd), device);
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

WcStatus send_status(ibv_wc_status status, bool siw) {
  if (siw && status == IBV_WC_LOC_QP_OP_ERR) return WcStatus::kTransport;
  return to_status(status);
}

void check_thread(const Reactor& reactor, const char* call) {
  if (reactor.in_thread()) [[likely]]
    return;
  internal::misuse(call, "Reactor", &reactor, "runs on another thread than the caller's");
}

void check_post_thread([[maybe_unused]] const Reactor& reactor, [[maybe_unused]] const char* call) {
#ifdef NDEBUG
  if (!internal::posts_are_checked) [[likely]]
    return;
#endif
  check_thread(reactor, call);
}

void die(const char* message) { internal::fatal(absl::StrCat("verbs: ", message)); }

}  // namespace mrpool::verbs
