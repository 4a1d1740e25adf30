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

absl::StatusOr<uint64_t> parse_size(std::string_view text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("\"",
                                                   absl::string_view(text.data(), text.size()),
                                                   "\" is not a size; write 64MiB, 1TiB or 4096"));
  };
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return bad();
  const std::string_view unit(end, size_t(text.data() + text.size() - end));
  static constexpr struct {
    std::string_view name;
    uint64_t factor;
  } kUnits[] = {
      {"", 1},
      {"B", 1},
      {"k", 1u << 10},  // as fio reads it
      {"K", 1u << 10},
      {"M", 1u << 20},
      {"G", 1u << 30},
      {"KiB", 1u << 10},
      {"MiB", 1u << 20},
      {"GiB", 1u << 30},
      {"TiB", uint64_t{1} << 40},
      {"kB", 1000},
      {"KB", 1000},
      {"MB", 1000 * 1000},
      {"GB", 1000 * 1000 * 1000},
      {"TB", uint64_t{1000} * 1000 * 1000 * 1000},
  };
  for (const auto& u : kUnits) {
    if (u.name != unit) continue;
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(value, u.factor, &bytes)) return bad();
    return bytes;
  }
  return bad();
}

}  // namespace mrpool::storage
