#include "examples/storage/bad_blocks.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/storage/spec.h"
#include "examples/storage/state_file.h"
#include "examples/storage/storage.h"
#include "examples/storage/uuid.h"

namespace mrpool::storage {
namespace {

using Range = BadBlocks::Range;

constexpr std::string_view kHead = "mrpool bad blocks 1\n";
constexpr uint64_t kSmallestBlock = kBlockSizes[0];
constexpr uint64_t kLargestBlock = kBlockSizes[1];
// Marks of large blocks, of which every second smaller one was written.
constexpr size_t kMaxRanges = BadBlocks::kMaxBlocks * (kLargestBlock / kSmallestBlock);

constexpr uint64_t end_of(const Range& range) { return range.offset + range.length; }

uint64_t bytes_of(std::span<const Range> ranges) {
  uint64_t sum = 0;
  for (const Range& each : ranges) sum += each.length;
  return sum;
}

// The first range that ends after `offset`.
auto first_after(std::span<const Range> ranges, uint64_t offset) {
  return std::ranges::upper_bound(ranges, offset, {}, end_of);
}

std::vector<Range> without(std::span<const Range> ranges, const Range& gone) {
  std::vector<Range> left;
  left.reserve(ranges.size() + 1);
  for (const Range& each : ranges) {
    const uint64_t before = std::min(end_of(each), gone.offset);
    const uint64_t after = std::max(each.offset, end_of(gone));
    if (each.offset < before) left.push_back({each.offset, before - each.offset});
    if (after < end_of(each)) left.push_back({after, end_of(each) - after});
  }
  return left;
}

// With it, joined to what touches it.
std::vector<Range> with(std::span<const Range> ranges, const Range& added) {
  std::vector<Range> all = without(ranges, added);
  all.insert(std::ranges::lower_bound(all, added.offset, {}, &Range::offset), added);
  std::vector<Range> joined;
  for (const Range& each : all) {
    if (!joined.empty() && end_of(joined.back()) == each.offset) {
      joined.back().length += each.length;
    } else {
      joined.push_back(each);
    }
  }
  return joined;
}

// Takes a number and the character after it from the text; decimal, as format() writes it.
std::optional<uint64_t> take_number(std::string_view& text, char next) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest == end || *rest != next) return std::nullopt;
  if (text.front() == '0' && rest - text.data() > 1) return std::nullopt;
  text.remove_prefix(size_t(rest - text.data()) + 1);
  return value;
}

}  // namespace

std::optional<uint64_t> BadBlocks::first_in(uint64_t offset, uint64_t length) const {
  const std::lock_guard lock(mutex_);
  const std::span<const Range> ranges(ranges_);
  const auto at = first_after(ranges, offset);
  if (at == ranges.end()) return std::nullopt;
  const uint64_t first = std::max(at->offset, offset);
  if (first - offset >= length) return std::nullopt;
  return first;
}

Error BadBlocks::mark(uint64_t offset, uint64_t length, const Geometry& geometry) {
  if (length == 0) return Error::kNone;
  const std::lock_guard one(changing_);
  const uint64_t most = kMaxBlocks * geometry.block_size;
  std::vector<Range> next = with(ranges_, {offset, length});
  if (bytes_of(next) > most) {
    next = without(next, {geometry.bytes(), UINT64_MAX - geometry.bytes()});
  }
  return bytes_of(next) > most ? Error::kMarksFull : install(std::move(next));
}

Error BadBlocks::clear(uint64_t offset, uint64_t length) {
  const std::lock_guard one(changing_);
  return install(without(ranges_, {offset, length}));
}

// The caller holds changing_.
Error BadBlocks::install(std::vector<Range> next) {
  if (next == ranges_) return Error::kNone;
  if (kept() && !write_state(path_, format(next)).ok()) return Error::kMarkNotKept;
  const std::lock_guard lock(mutex_);
  ranges_ = std::move(next);
  any_.store(!ranges_.empty(), std::memory_order_release);
  return Error::kNone;
}

absl::Status BadBlocks::keep_at(const std::string& path) {
  const std::lock_guard one(changing_);
  if (kept()) return absl::OkStatus();
  const absl::StatusOr<std::string> content = read_state(path);
  if (!content.ok()) return content.status();
  std::optional<std::vector<Range>> ranges = parse(*content);
  if (!ranges) {
    return absl::DataLossError(absl::StrCat(
        path, ": the kept marks of uncorrectable blocks are unreadable; restore the file, or ",
        "remove it: the blocks are then read as they are"));
  }
  path_ = path;
  const std::lock_guard lock(mutex_);
  ranges_ = *std::move(ranges);
  any_.store(!ranges_.empty(), std::memory_order_release);
  return absl::OkStatus();
}

std::string BadBlocks::format(std::span<const Range> ranges) {
  if (ranges.empty()) return {};
  std::string text(kHead);
  for (const Range& each : ranges) absl::StrAppend(&text, each.offset, " ", each.length, "\n");
  return text;
}

std::optional<std::vector<Range>> BadBlocks::parse(std::string_view text) {
  std::vector<Range> ranges;
  if (text.empty()) return ranges;
  if (!text.starts_with(kHead) || text.size() == kHead.size()) return std::nullopt;
  text.remove_prefix(kHead.size());
  uint64_t end = 0;
  while (!text.empty()) {
    const auto offset = take_number(text, ' ');
    const auto length = offset ? take_number(text, '\n') : std::nullopt;
    if (!length || *length == 0 || *offset > UINT64_MAX - *length) return std::nullopt;
    if ((*offset | *length) % kSmallestBlock != 0) return std::nullopt;
    // Ranges that touch are one range.
    if (*offset < end || (*offset == end && !ranges.empty())) return std::nullopt;
    if (ranges.size() == kMaxRanges) return std::nullopt;
    ranges.push_back({*offset, *length});
    end = end_of(ranges.back());
  }
  return ranges;
}

std::string bad_blocks_file(const StoreIdentity& identity, std::string_view path) {
  std::string key = identity.text();
  if (!identity.stable() && !identity.lasting().empty()) {
    key = identity.lasting();
  } else if (!identity.stable()) {
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::absolute(path, error);
    key = error ? std::string(path) : whole.lexically_normal().string();
  }
  return absl::StrCat("bad-", format_uuid(derive_uuid(absl::StrCat("marks of ", key))));
}

absl::Status keep_bad_blocks(const std::string& directory,
                             std::span<const std::shared_ptr<Volume>> volumes) {
  if (directory.empty()) return absl::OkStatus();
  for (const std::shared_ptr<Volume>& volume : volumes) {
    if (volume == nullptr || volume->shared()) continue;
    const StoreIdentity& identity = volume->identity();
    const bool outlives = identity.kind() == StoreIdentity::Kind::kFile ||
                          identity.kind() == StoreIdentity::Kind::kBlockDevice;
    if (!outlives) continue;
    const absl::StatusOr<StoreSpec> spec = parse_spec(volume->spec());
    const std::string name = bad_blocks_file(identity, spec.ok() ? spec->target : volume->spec());
    const absl::Status status = volume->bad_blocks().keep_at(absl::StrCat(directory, "/", name));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mrpool::storage
