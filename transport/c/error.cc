#include "transport/c/error.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "mrpool.h"

namespace mrpool::c {
namespace {

// Of a thread; its end is the only thing that frees it.
thread_local constinit char t_text[512] = "";

int errno_of(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return EINVAL;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kNotFound:
      return ENXIO;
    case absl::StatusCode::kAlreadyExists:
      return EADDRINUSE;
    case absl::StatusCode::kFailedPrecondition:
      return EPERM;
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kUnimplemented:
      return EOPNOTSUPP;
    case absl::StatusCode::kDeadlineExceeded:
      return ETIMEDOUT;
    default:
      return EIO;
  }
}

}  // namespace

int failed(int error, absl::string_view text) {
  const size_t length = std::min(text.size(), sizeof t_text - 1);
  std::memcpy(t_text, text.data(), length);
  t_text[length] = '\0';
  return -error;
}

int failed(const absl::Status& status) { return failed(errno_of(status.code()), status.message()); }

int is_null(const char* argument) { return failed(EINVAL, absl::StrCat(argument, " is NULL")); }

int post_error(PostStatus status) {
  switch (status) {
    case PostStatus::kOk:
      return 0;
    case PostStatus::kQueueFull:
      return -EAGAIN;
    case PostStatus::kBadSge:
      return -EFAULT;
    case PostStatus::kTooLong:
      return -EMSGSIZE;
    case PostStatus::kBadKey:
      return -EKEYREJECTED;
    case PostStatus::kAccessDenied:
      return -EACCES;
    case PostStatus::kUnsupported:
      return -EOPNOTSUPP;
    case PostStatus::kPeerUnsupported:
      return -EPROTONOSUPPORT;
    case PostStatus::kNotConnected:
      return -ENOTCONN;
    case PostStatus::kTooManySges:
    case PostStatus::kBadAtomic:
    case PostStatus::kBadIntegrity:
      return -EINVAL;
  }
  return -EIO;
}

}  // namespace mrpool::c

const char* mrpool_error() { return mrpool::c::t_text; }
