#include "transport/checks/memory.h"

#include <fcntl.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace mrpool::checks {
namespace {

absl::Status refused(std::span<const std::byte> memory, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("cannot register ", memory.size(), " bytes at 0x",
                   absl::Hex(reinterpret_cast<uintptr_t>(memory.data())), ": ",
                   absl::string_view(why.data(), why.size())));
}

absl::Status refused_at(std::span<const std::byte> memory, uintptr_t at, std::string_view why) {
  const uintptr_t offset = at - reinterpret_cast<uintptr_t>(memory.data());
  return refused(memory, absl::StrCat("the byte at offset ", offset, " is ",
                                      absl::string_view(why.data(), why.size())));
}

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool readable = false;
  bool writable = false;
};

// "7f0a1c000000-7f0a1c021000 rw-p ..."
std::optional<Mapping> parse_mapping(std::string_view line) {
  Mapping mapping;
  const char* const end = line.data() + line.size();
  const auto first = std::from_chars(line.data(), end, mapping.begin, 16);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, mapping.end, 16);
  if (second.ec != std::errc() || end - second.ptr < 3) return std::nullopt;
  mapping.readable = second.ptr[1] == 'r';
  mapping.writable = second.ptr[2] == 'w';
  return mapping;
}

// PROCMAP_QUERY of <linux/fs.h>, since Linux 6.11: the mapping at one address.
struct MapQuery {
  __u64 size = sizeof(MapQuery);
  __u64 flags = 0;
  __u64 address = 0;
  __u64 begin = 0;
  __u64 end = 0;
  __u64 rights = 0;  // 1: readable, 2: writable
  __u64 page_size = 0;
  __u64 offset = 0;
  __u64 inode = 0;
  __u32 device[2] = {};
  __u32 sizes[2] = {};  // of the name and the build id, which are not asked for
  __u64 addresses[2] = {};
};
constexpr unsigned long kMapQuery = _IOWR('f', 17, MapQuery);

// Null: nothing is mapped there, or `answers` is false by now, because the kernel does not know the
// question.
std::optional<Mapping> ask(int fd, uintptr_t at, bool& answers) {
  MapQuery query{.address = at};
  if (::ioctl(fd, kMapQuery, &query) == 0) {
    return Mapping{query.begin, query.end, (query.rights & 1) != 0, (query.rights & 2) != 0};
  }
  answers = errno == ENOENT;
  return std::nullopt;
}

// The mapping that holds `at`. Advances the text past it; null: there is none.
std::optional<Mapping> find_next(std::string_view& maps, uintptr_t at) {
  while (!maps.empty()) {
    const std::string_view line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(line.size() < maps.size() ? line.size() + 1 : line.size());
    const std::optional<Mapping> mapping = parse_mapping(line);
    if (!mapping || mapping->end <= at) continue;
    return mapping->begin > at ? std::nullopt : mapping;
  }
  return std::nullopt;
}

// `find(at)` returns the mapping that holds the byte, or null.
template <typename Find>
absl::Status walk(std::span<const std::byte> memory, Access access, Find find) {
  const bool writes =
      any(access & (Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteAtomic));
  uintptr_t at = reinterpret_cast<uintptr_t>(memory.data());  // checked up to here
  const uintptr_t end = at + memory.size();
  while (at < end) {
    const std::optional<Mapping> mapping = find(at);
    if (!mapping) return refused_at(memory, at, "not mapped");
    if (!mapping->readable) return refused_at(memory, at, "not readable");
    if (writes && !mapping->writable) {
      return refused_at(memory, at,
                        absl::StrCat("read-only, and ", to_string(access), " writes it"));
    }
    at = mapping->end;
  }
  return absl::OkStatus();
}

std::string read_maps(int fd) {
  constexpr size_t kStep = 64 * 1024;
  std::string text;
  ssize_t n = 0;
  do {
    const size_t have = text.size();
    text.resize(have + kStep);
    n = ::read(fd, text.data() + have, kStep);
    text.resize(have + (n > 0 ? static_cast<size_t>(n) : 0));
  } while (n > 0 || (n < 0 && errno == EINTR));
  return text;
}

}  // namespace

absl::Status check_range(std::span<const std::byte> memory) {
  if (memory.empty()) return refused(memory, "there is no byte to register");
  if (memory.data() == nullptr) return refused(memory, "the address is null");
  if (memory.size() > UINTPTR_MAX - reinterpret_cast<uintptr_t>(memory.data())) {
    return refused(memory, "address plus length wraps");
  }
  return absl::OkStatus();
}

absl::Status check_mapped(std::span<const std::byte> memory, Access access) {
  // Its pages are looked up when they are used; nothing has to be there before.
  if (any(access & Access::kOnDemand)) return absl::OkStatus();
  const int fd = ::open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::OkStatus();
  bool answers = true;
  absl::Status status = walk(memory, access, [&](uintptr_t at) { return ask(fd, at, answers); });
  if (!answers) status = check_mapped(memory, access, read_maps(fd));
  ::close(fd);
  return status;
}

absl::Status check_mapped(std::span<const std::byte> memory, Access access, std::string_view maps) {
  return walk(memory, access, [&maps](uintptr_t at) { return find_next(maps, at); });
}

}  // namespace mrpool::checks
