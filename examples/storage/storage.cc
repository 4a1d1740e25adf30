#include "examples/storage/storage.h"

#include <cerrno>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace mrpool::storage {

std::string_view to_string(Op op) {
  switch (op) {
    case Op::kRead:
      return "read";
    case Op::kWrite:
      return "write";
    case Op::kFlush:
      return "flush";
    case Op::kWriteZeroes:
      return "write_zeroes";
    case Op::kDeallocate:
      return "deallocate";
    case Op::kHold:
      return "hold";
  }
  return "op";
}

std::string_view to_string(Error error) {
  switch (error) {
    case Error::kNone:
      return "none";
    case Error::kOutOfRange:
      return "out_of_range";
    case Error::kMediaRead:
      return "media_read";
    case Error::kMediaWrite:
      return "media_write";
    case Error::kNoSpace:
      return "no_space";
    case Error::kReadOnly:
      return "read_only";
    case Error::kUnsupported:
      return "unsupported";
    case Error::kNotReady:
      return "not_ready";
    case Error::kInaccessible:
      return "inaccessible";
    case Error::kMarkedBad:
      return "marked_bad";
    case Error::kMarksFull:
      return "marks_full";
    case Error::kMarkNotKept:
      return "mark_not_kept";
    case Error::kInternal:
      return "internal";
  }
  return "error";
}

Error from_errno(int error, Op op) {
  switch (error) {
    case 0:
      return Error::kNone;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Error::kNoSpace;
    case EROFS:
    case EPERM:
    case EBADF:
      return Error::kReadOnly;
    case EOPNOTSUPP:
      return Error::kUnsupported;
    case EIO:
    case ENODATA:
    case EREMOTEIO:
      return op == Op::kRead ? Error::kMediaRead : Error::kMediaWrite;
    default:
      return Error::kInternal;
  }
}

}  // namespace mrpool::storage
