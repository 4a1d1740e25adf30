#include "examples/storage/storage.h"

#include <cerrno>
#include <charconv>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/storage/file.h"
#include "examples/storage/ram.h"

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

uint32_t block_size_of(std::string_view spec, uint32_t otherwise) {
  const std::vector<std::string> parts = absl::StrSplit(std::string(spec), ',');
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "bs=512") otherwise = 512;
    if (parts[i] == "bs=4096") otherwise = 4096;
  }
  return otherwise;
}

absl::StatusOr<std::shared_ptr<Volume>> open(std::string_view text, const OpenOptions& options) {
  const std::string spec(text);
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  if (colon == std::string::npos || (kind != "ram" && kind != "null" && kind != "file")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", spec, "\" names no storage; write ram:64MiB, null:1TiB or file:/path[,direct]"));
  }
  const std::vector<std::string> parts = absl::StrSplit(spec.substr(colon + 1), ',');
  const uint32_t block_size = block_size_of(spec, options.block_size);
  FileOptions file;
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    if (part == "bs=512" || part == "bs=4096") continue;
    if (kind == "file" && part == "direct") {
      file.direct = true;
    } else if (kind == "file" && part == "ro") {
      file.read_only = true;
    } else if (kind == "file" && part.starts_with("size=")) {
      const auto size = parse_size(std::string_view(part).substr(5));
      if (!size.ok()) return size.status();
      file.size = *size;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", spec, "\": option \"", part, "\" is not known for ", kind,
                       kind == "file" ? "; there are direct, ro, size=, bs=512, bs=4096"
                                      : "; there are bs=512, bs=4096"));
    }
  }
  if (block_size != 512 && block_size != 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("block size ", block_size, " is not supported; use 512 or 4096"));
  }
  if (kind == "file") {
    if (parts[0].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", spec, "\": the path is missing; write file:/srv/disk.img"));
    }
    return open_file(spec, parts[0], block_size, file);
  }
  const auto bytes = parse_size(parts[0]);
  if (!bytes.ok()) return bytes.status();
  if (*bytes < block_size || *bytes % block_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat("\"", spec, "\": ", *bytes,
                                                   " bytes is not a whole number of ", block_size,
                                                   "-byte blocks"));
  }
  return kind == "ram" ? open_ram(spec, *bytes, block_size) : open_null(spec, *bytes, block_size);
}

}  // namespace mrpool::storage
