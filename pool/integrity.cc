// T10-DIF over scatter lists: one pass over the blocks, in which each tuple is read, checked,
// converted and written.
#include "mrpool/integrity.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_format.h"
#include "mrpool/segments.h"

namespace mrpool {
namespace {

constexpr uint16_t kAppTagEscape = 0xffff;
constexpr uint32_t kRefTagEscape = 0xffffffff;

uint64_t total_bytes(std::span<const Sge> list) {
  uint64_t total = 0;
  for (const Sge& sge : list) total += sge.length;
  return total;
}

bool has_empty(std::span<const Sge> list) {
  return std::ranges::any_of(list, [](const Sge& sge) { return sge.length == 0; });
}

// Calls visit(memory) for the pieces of the next `bytes` of the list, and moves on.
template <typename Visit>
void visit_next(SegmentIterator& at, uint64_t bytes, Visit&& visit) {
  while (bytes > 0) {
    const Sge piece = at.front(bytes);
    visit(std::span(piece.addr, piece.length));
    at.advance(piece.length);
    bytes -= piece.length;
  }
}

uint16_t guard_of_next(SegmentIterator at, uint32_t block_size, uint16_t seed) {
  visit_next(at, block_size,
             [&](std::span<const std::byte> piece) { seed = t10dif_guard(piece, seed); });
  return seed;
}

ProtectionTuple read_next(SegmentIterator& at) {
  std::array<std::byte, kTupleBytes> bytes;
  std::byte* to = bytes.data();
  visit_next(at, kTupleBytes, [&](std::span<const std::byte> piece) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  });
  return decode_tuple(bytes);
}

void write_next(SegmentIterator& at, const ProtectionTuple& tuple) {
  std::array<std::byte, kTupleBytes> bytes;
  encode_tuple(tuple, bytes);
  const std::byte* from = bytes.data();
  visit_next(at, kTupleBytes, [&](std::span<std::byte> piece) {
    std::memcpy(piece.data(), from, piece.size());
    from += piece.size();
  });
}

bool escapes(const IntegrityDomain& domain, const ProtectionTuple& tuple) {
  if (domain.escape == IntegrityEscape::kNone || tuple.app_tag != kAppTagEscape) return false;
  return domain.escape == IntegrityEscape::kAppTag || tuple.ref_tag == kRefTagEscape;
}

// `guard`: of the block's data.
std::optional<IntegrityError> check(const IntegrityDomain& domain, const IntegrityChecks& checks,
                                    uint32_t block, uint16_t guard, const ProtectionTuple& tuple) {
  if (escapes(domain, tuple)) return std::nullopt;
  if (checks.guard && tuple.guard != guard) {
    return IntegrityError{IntegrityField::kGuard, block, guard, tuple.guard};
  }
  if (checks.app_tag && ((tuple.app_tag ^ domain.app_tag) & domain.app_tag_mask) != 0) {
    return IntegrityError{IntegrityField::kAppTag, block, domain.app_tag, tuple.app_tag};
  }
  if (checks.ref_tag && tuple.ref_tag != domain.ref_tag_of(block)) {
    return IntegrityError{IntegrityField::kRefTag, block, domain.ref_tag_of(block), tuple.ref_tag};
  }
  return std::nullopt;
}

// What becomes of a block's tuples from one domain to the other.
class Conversion {
 public:
  Conversion(const IntegrityDomain& from, const IntegrityDomain& to, const IntegrityChecks& checks,
             uint32_t block_size)
      : from_(from),
        to_(to),
        checks_(checks),
        block_size_(block_size),
        same_guard_(from.protection && from.guard_seed == to.guard_seed),
        same_app_tag_(from.protection && from.app_tag == to.app_tag),
        same_ref_tag_(from.protection && from.ref_tag == to.ref_tag &&
                      from.ref_tag_increments == to.ref_tag_increments) {}

  // For the block at `data`. `tuple`: its own, and then the one that goes on.
  std::optional<IntegrityError> block(const SegmentIterator& data, uint32_t block,
                                      ProtectionTuple& tuple) const {
    std::optional<IntegrityError> error;
    if (from_.protection) {
      if (checks_.guard) {
        error =
            check(from_, checks_, block, guard_of_next(data, block_size_, from_.guard_seed), tuple);
      } else {
        error = check(from_, checks_, block, 0, tuple);
      }
      if (escapes(from_, tuple)) return error;
    }
    if (!to_.protection) return error;
    if (!same_guard_) tuple.guard = guard_of_next(data, block_size_, to_.guard_seed);
    if (!same_app_tag_) tuple.app_tag = to_.app_tag;
    if (!same_ref_tag_) tuple.ref_tag = to_.ref_tag_of(block);
    return error;
  }

 private:
  const IntegrityDomain& from_;
  const IntegrityDomain& to_;
  const IntegrityChecks& checks_;
  const uint32_t block_size_;
  const bool same_guard_;  // the field is passed on
  const bool same_app_tag_;
  const bool same_ref_tag_;
};

std::optional<IntegrityError> convert(const IntegrityDomain& from, const IntegrityDomain& to,
                                      const IntegrityChecks& checks, uint32_t block_size,
                                      std::span<const Sge> data, std::span<const Sge> old_tuples,
                                      std::span<const Sge> new_tuples) {
  const Conversion conversion(from, to, checks, block_size);
  const uint64_t blocks = total_bytes(data) / block_size;
  SegmentIterator at(data);
  SegmentIterator reading(old_tuples);
  SegmentIterator writing(new_tuples);
  std::optional<IntegrityError> first;
  for (uint32_t block = 0; block < blocks; ++block) {
    ProtectionTuple tuple;
    if (from.protection) tuple = read_next(reading);
    const std::optional<IntegrityError> error = conversion.block(at, block, tuple);
    if (error && !first) first = error;
    if (to.protection) write_next(writing, tuple);
    at.advance(block_size);
  }
  return first;
}

}  // namespace

uint16_t t10dif_guard(std::span<const std::byte> data, uint16_t seed) {
  return crc16_t10dif(seed, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

void encode_tuple(const ProtectionTuple& tuple, std::span<std::byte, kTupleBytes> to) {
  const uint64_t all =
      uint64_t{tuple.guard} << 48 | uint64_t{tuple.app_tag} << 32 | uint64_t{tuple.ref_tag};
  for (unsigned i = 0; i < kTupleBytes; ++i) to[i] = std::byte(all >> (56 - 8 * i));
}

ProtectionTuple decode_tuple(std::span<const std::byte, kTupleBytes> from) {
  uint64_t all = 0;
  for (const std::byte each : from) all = all << 8 | std::to_integer<uint64_t>(each);
  return {uint16_t(all >> 48), uint16_t(all >> 32), uint32_t(all)};
}

void generate_protection(const IntegrityDomain& domain, uint32_t block_size,
                         std::span<const Sge> data, std::span<const Sge> tuples) {
  IntegrityDomain to = domain;
  to.protection = true;
  (void)convert({}, to, {}, block_size, data, {}, tuples);
}

std::optional<IntegrityError> verify_protection(const IntegrityDomain& domain,
                                                const IntegrityChecks& checks, uint32_t block_size,
                                                std::span<const Sge> data,
                                                std::span<const Sge> tuples) {
  IntegrityDomain from = domain;
  from.protection = true;
  return convert(from, {}, checks, block_size, data, tuples, {});
}

std::optional<IntegrityError> convert_protection(const IntegrityAttributes& attributes,
                                                 IntegrityFlow flow, std::span<const Sge> data,
                                                 std::span<const Sge> from,
                                                 std::span<const Sge> to) {
  const bool out = flow == IntegrityFlow::kToWire;
  const IntegrityDomain& source = out ? attributes.memory : attributes.wire;
  const IntegrityDomain& target = out ? attributes.wire : attributes.memory;
  return convert(source, target, attributes.checks, attributes.block_size, data, from, to);
}

PostStatus check_protected_lists(const IntegrityCapacity& capacity, uint32_t max_segments,
                                 std::span<const Sge> data, std::span<const Sge> protection,
                                 const IntegrityAttributes& attributes) {
  if (!attributes.valid()) return PostStatus::kBadIntegrity;
  if (data.size() > max_segments || protection.size() > capacity.protection_segments) {
    return PostStatus::kTooManySges;
  }
  if (has_empty(data) || has_empty(protection)) return PostStatus::kBadSge;
  const uint64_t bytes = total_bytes(data);
  const uint64_t blocks = bytes / attributes.block_size;
  if (blocks == 0 || bytes % attributes.block_size != 0) return PostStatus::kBadIntegrity;
  if (blocks > capacity.blocks) return PostStatus::kTooLong;
  const uint64_t tuples = attributes.memory.protection ? blocks * kTupleBytes : 0;
  return total_bytes(protection) == tuples ? PostStatus::kOk : PostStatus::kBadIntegrity;
}

std::string_view to_string(IntegrityField field) {
  switch (field) {
    case IntegrityField::kGuard:
      return "guard";
    case IntegrityField::kAppTag:
      return "application tag";
    case IntegrityField::kRefTag:
      return "reference tag";
  }
  return "unknown";
}

std::string to_string(const IntegrityError& error) {
  const int digits = error.field == IntegrityField::kRefTag ? 8 : 4;
  return absl::StrFormat("block %d: %s 0x%0*x, expected 0x%0*x", error.block,
                         std::string(to_string(error.field)), digits, error.actual, digits,
                         error.expected);
}

}  // namespace mrpool
