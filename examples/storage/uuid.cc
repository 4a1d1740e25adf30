#include "examples/storage/uuid.h"

#include <sys/random.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {
namespace {

constexpr bool is_dash(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

int digit_of(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

uint64_t fnv1a(std::string_view text, uint64_t hash) {
  for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3;
  // Spread the last bytes over the whole number.
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  return hash ^ hash >> 33;
}

std::string machine() {
  for (const char* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
    const absl::StatusOr<std::string> id = read_text(path);
    if (!id.ok()) continue;
    const std::string line(absl::StripAsciiWhitespace(*id));
    if (!line.empty()) return line;
  }
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string process() {
  uint64_t random = 0;
  // Blocks only before the kernel has had any randomness; without it the process id has to do.
  if (::getrandom(&random, sizeof random, 0) != sizeof random) random = uint64_t(::getpid());
  return absl::StrCat(random);
}

}  // namespace

absl::StatusOr<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid{};
  size_t digits = 0;
  bool good = text.size() == 36;
  for (size_t i = 0; good && i < text.size(); ++i) {
    if (is_dash(i)) {
      good = text[i] == '-';
      continue;
    }
    const int digit = digit_of(text[i]);
    good = digit >= 0;
    if (good) uuid[digits / 2] = uint8_t(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  if (!good || uuid == Uuid{}) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", std::string(text), "\" is not a UUID; write 0a1b2c3d-0000-4000-8000-000000000001"));
  }
  return uuid;
}

std::string format_uuid(const Uuid& uuid) {
  std::string text;
  for (const uint8_t byte : uuid) {
    absl::StrAppend(&text, is_dash(text.size()) ? "-" : "", absl::Hex(byte, absl::kZeroPad2));
  }
  return text;
}

Uuid derive_uuid(std::string_view name) {
  Uuid uuid;
  for (size_t half = 0; half < 2; ++half) {
    const uint64_t hash = fnv1a(name, 0xcbf29ce484222325 + half);
    for (size_t i = 0; i < 8; ++i) uuid[half * 8 + i] = uint8_t(hash >> (8 * i));
  }
  uuid[6] = uint8_t((uuid[6] & 0x0f) | 0x80);
  uuid[8] = uint8_t((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

Uuid uuid_of(const StoreIdentity& identity) {
  static const std::string this_machine = machine();
  static const std::string this_process = process();
  std::string name = identity.text();
  if (!identity.world_wide()) absl::StrAppend(&name, "@", this_machine);
  if (identity.kind() == StoreIdentity::Kind::kUnnamed) absl::StrAppend(&name, "@", this_process);
  return derive_uuid(name);
}

std::string describe(const Uuid& uuid, const StoreIdentity& identity, bool kept) {
  const bool lost = !kept || identity.kind() == StoreIdentity::Kind::kUnnamed;
  const bool changes = lost && !identity.stable() && uuid == uuid_of(identity);
  return absl::StrCat("UUID ", format_uuid(uuid), changes ? ", another after a restart" : "");
}

}  // namespace mrpool::storage
