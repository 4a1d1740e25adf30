// Protection information over scatter lists that are cut anywhere, with any attributes and tuples:
// checks and generated tuples equal those of a simple implementation.
#include "mrpool/integrity.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/conformance/t10dif_reference.h"
#include "tests/fuzz/fuzz.h"

namespace {

using mrpool::IntegrityDomain;
using mrpool::IntegrityError;
using mrpool::IntegrityField;
using mrpool::ProtectionTuple;
using mrpool::Sge;
using mrpool::fuzz::Input;

using Bytes = std::vector<std::byte>;

IntegrityDomain take_domain(Input& input) {
  const auto flags = input.take<uint8_t>();
  IntegrityDomain domain{.protection = (flags & 1) != 0,
                         .guard_seed = input.take<uint16_t>(),
                         .app_tag = input.take<uint16_t>(),
                         .app_tag_mask = input.take<uint16_t>(),
                         .ref_tag = input.take<uint32_t>(),
                         .ref_tag_increments = (flags & 2) != 0};
  domain.escape = static_cast<mrpool::IntegrityEscape>((flags >> 2) % 3);
  return domain;
}

std::vector<Sge> cut(Input& input, Bytes& memory) {
  std::vector<Sge> list;
  for (size_t at = 0; at < memory.size();) {
    const size_t wanted = input.empty() ? memory.size() : 1 + input.take<uint8_t>() * 3u;
    const auto length = static_cast<uint32_t>(std::min(wanted, memory.size() - at));
    list.push_back({memory.data() + at, length, {}});
    at += length;
  }
  return list;
}

ProtectionTuple tuple_at(const Bytes& tuples, uint32_t block) {
  const auto at = [&](size_t i) {
    return std::to_integer<uint32_t>(tuples[block * mrpool::kTupleBytes + i]);
  };
  return {uint16_t(at(0) << 8 | at(1)), uint16_t(at(2) << 8 | at(3)),
          at(4) << 24 | at(5) << 16 | at(6) << 8 | at(7)};
}

struct Plain {
  const IntegrityDomain& from;
  const IntegrityDomain& to;
  const mrpool::IntegrityChecks& checks;

  std::optional<IntegrityError> block(uint32_t number, std::span<const std::byte> data,
                                      ProtectionTuple& tuple) const {
    std::optional<IntegrityError> error;
    bool escaped = false;
    if (from.protection) {
      escaped = (from.escape == mrpool::IntegrityEscape::kAppTag && tuple.app_tag == 0xffff) ||
                (from.escape == mrpool::IntegrityEscape::kAppAndRefTag && tuple.app_tag == 0xffff &&
                 tuple.ref_tag == 0xffffffff);
      const uint16_t guard = mrpool::reference::crc(data, from.guard_seed);
      const uint32_t ref_tag = from.ref_tag + (from.ref_tag_increments ? number : 0);
      if (escaped) {
      } else if (checks.guard && guard != tuple.guard) {
        error = {IntegrityField::kGuard, number, guard, tuple.guard};
      } else if (checks.app_tag &&
                 (tuple.app_tag & from.app_tag_mask) != (from.app_tag & from.app_tag_mask)) {
        error = {IntegrityField::kAppTag, number, from.app_tag, tuple.app_tag};
      } else if (checks.ref_tag && ref_tag != tuple.ref_tag) {
        error = {IntegrityField::kRefTag, number, ref_tag, tuple.ref_tag};
      }
    }
    if (escaped) return error;
    if (!from.protection || from.guard_seed != to.guard_seed) {
      tuple.guard = mrpool::reference::crc(data, to.guard_seed);
    }
    if (!from.protection || from.app_tag != to.app_tag) tuple.app_tag = to.app_tag;
    if (!from.protection || from.ref_tag != to.ref_tag ||
        from.ref_tag_increments != to.ref_tag_increments) {
      tuple.ref_tag = to.ref_tag + (to.ref_tag_increments ? number : 0);
    }
    return error;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const auto flags = input.take<uint8_t>();
  const uint32_t blocks = 1 + input.take<uint8_t>() % 4;
  mrpool::IntegrityAttributes attributes;
  attributes.block_size = 512 + 8 * (input.take<uint8_t>() % 3);
  attributes.memory = take_domain(input);
  attributes.wire = take_domain(input);
  attributes.checks = {(flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0};
  const auto flow = static_cast<mrpool::IntegrityFlow>(flags >> 3 & 1);
  if (!attributes.valid()) return 0;

  Bytes data(blocks * attributes.block_size);
  Bytes old_tuples(blocks * mrpool::kTupleBytes);
  Bytes new_tuples(old_tuples.size(), std::byte(0xaa));
  const bool out = flow == mrpool::IntegrityFlow::kToWire;
  const Plain plain{out ? attributes.memory : attributes.wire,
                    out ? attributes.wire : attributes.memory, attributes.checks};
  // Correct tuples, or those of the input; otherwise no input would pass the guard.
  if ((flags & 16) != 0) {
    input.fill(data);
    input.fill(old_tuples);
  } else {
    std::ranges::fill(data, std::byte(flags));
    old_tuples = mrpool::reference::tuples(plain.from, attributes.block_size, data);
    old_tuples[input.take<uint8_t>() % old_tuples.size()] ^= std::byte(input.take<uint8_t>());
  }
  const std::vector<Sge> data_list = cut(input, data);
  const std::vector<Sge> old_list = cut(input, old_tuples);
  const std::vector<Sge> new_list = cut(input, new_tuples);
  const auto found = mrpool::convert_protection(attributes, flow, data_list, old_list, new_list);

  std::optional<IntegrityError> expected;
  for (uint32_t block = 0; block < blocks; ++block) {
    ProtectionTuple tuple = plain.from.protection ? tuple_at(old_tuples, block) : ProtectionTuple{};
    const auto error = plain.block(
        block, std::span(data).subspan(block * attributes.block_size, attributes.block_size),
        tuple);
    if (!expected) expected = error;
    if (plain.to.protection) FUZZ_CHECK(tuple_at(new_tuples, block) == tuple);
  }
  FUZZ_CHECK(found == expected);
  if (!plain.to.protection) {
    FUZZ_CHECK(std::ranges::all_of(new_tuples, [](std::byte b) { return b == std::byte(0xaa); }));
  }
  return 0;
}
