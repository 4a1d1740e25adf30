// Protection information of T10 (DIF): eight bytes for each block of data, and what to do with them
// between memory and wire.
//
// What it is: the layout of a tuple, functions that make and check tuples over scatter lists
// without a device, and the attributes of an integrity MR (mrpool/mr.h). An integrity MR makes and
// checks tuples as part of a transfer. The kernel has ib_sig_attrs for that;
// docs/reference/integrity.md explains.
//
//   a block on the wire:  block_size bytes of data, guard (16 bits), application tag (16),
//                         reference tag (32), all three big-endian
//
// Units: lengths in bytes, blocks counted from 0. Thread safety: functions of their arguments.
// Ownership: nothing is kept. No function here allocates.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mrpool/types.h"
#include "mrpool/work.h"

namespace mrpool {

// The protection information of one block.
struct ProtectionTuple {
  uint16_t guard = 0;
  uint16_t app_tag = 0;
  uint32_t ref_tag = 0;
  friend bool operator==(const ProtectionTuple&, const ProtectionTuple&) = default;
};
inline constexpr uint32_t kTupleBytes = 8;
// Writes the 8 bytes that stand in memory and on the wire, big-endian.
void encode_tuple(const ProtectionTuple& tuple, std::span<std::byte, kTupleBytes> to);
// Reads what encode_tuple() wrote.
ProtectionTuple decode_tuple(std::span<const std::byte, kTupleBytes> from);

// The guard of T10: the CRC with polynomial 0x8bb7, not reflected, not inverted. A block in pieces:
// the result of one is the seed of the next.
uint16_t t10dif_guard(std::span<const std::byte> data, uint16_t seed = 0);

// Which tuples mark their block as one that is not checked.
enum class IntegrityEscape : uint8_t {
  kNone,
  kAppTag,        // application tag 0xffff (DIF types 1 and 2)
  kAppAndRefTag,  // and reference tag 0xffffffff (type 3)
};

// The blocks as they are in memory, or as they are on the wire.
struct IntegrityDomain {
  bool protection = false;  // every block has a tuple; else the rest means nothing
  uint16_t guard_seed = 0;
  uint16_t app_tag = 0;
  uint16_t app_tag_mask = 0xffff;  // the bits of it that are checked
  uint32_t ref_tag = 0;            // of the first block
  bool ref_tag_increments = true;  // from block to block, modulo 2^32; else all have the same
  IntegrityEscape escape = IntegrityEscape::kNone;

  // The reference tag of the block with this number, from 0.
  uint32_t ref_tag_of(uint32_t block) const {
    return ref_tag_increments ? ref_tag + block : ref_tag;
  }
};

// Which fields are checked where tuples come from.
struct IntegrityChecks {
  bool guard = true;
  bool app_tag = true;
  bool ref_tag = true;
};

// What is done with the protection information of a transfer.
struct IntegrityAttributes {
  static constexpr uint32_t kMinBlockSize = 512;
  static constexpr uint32_t kMaxBlockSize = 65536;

  uint32_t block_size = 512;  // data of a block: a multiple of 8 within these
  IntegrityDomain memory{};
  IntegrityDomain wire{};
  IntegrityChecks checks{};

  // One side has protection at least, and the block size is one of those.
  bool valid() const {
    return (memory.protection || wire.protection) && block_size >= kMinBlockSize &&
           block_size <= kMaxBlockSize && block_size % 8 == 0;
  }
  // What `blocks` blocks are on the wire.
  uint64_t wire_bytes(uint64_t blocks) const {
    return blocks * (uint64_t{block_size} + (wire.protection ? kTupleBytes : 0));
  }
};

// Where the data goes.
enum class IntegrityFlow : uint8_t {
  kToWire,    // a WRITE or SEND of this side, a READ of the peer
  kFromWire,  // a READ of this side, a WRITE of the peer
};

// The fields of a tuple.
enum class IntegrityField : uint8_t { kGuard, kAppTag, kRefTag };
// The field's name, for people.
std::string_view to_string(IntegrityField field);

// The first fault of a transfer: the guard before the application tag before the reference tag.
struct IntegrityError {
  IntegrityField field = IntegrityField::kGuard;
  uint32_t block = 0;     // of the transfer
  uint32_t expected = 0;  // what the tuple should hold
  uint32_t actual = 0;    // what it holds
  friend bool operator==(const IntegrityError&, const IntegrityError&) = default;
};
// "block 3: guard 0x1234, expected 0xd0db".
std::string to_string(const IntegrityError& error);

// Over scatter lists. `data` has whole blocks; each list of tuples has kTupleBytes for each of
// them, at least. Blocks and tuples may be cut by segments anywhere.

// Writes the tuple of every block into `tuples`.
void generate_protection(const IntegrityDomain& domain, uint32_t block_size,
                         std::span<const Sge> data, std::span<const Sge> tuples);

// The first fault of `tuples`.
std::optional<IntegrityError> verify_protection(const IntegrityDomain& domain,
                                                const IntegrityChecks& checks, uint32_t block_size,
                                                std::span<const Sge> data,
                                                std::span<const Sge> tuples);

// What an integrity MR does: checks the tuples in `from` where the side that the data comes from is
// protected, and writes those in `to` where the other one is. All blocks are done, whatever is
// found. Requires attributes.valid().
std::optional<IntegrityError> convert_protection(const IntegrityAttributes& attributes,
                                                 IntegrityFlow flow, std::span<const Sge> data,
                                                 std::span<const Sge> from,
                                                 std::span<const Sge> to);

// What an integrity MR can map in addition to max_segments of data.
struct IntegrityCapacity {
  uint32_t blocks = 0;               // 0: it has no integrity
  uint32_t protection_segments = 0;  // of tuples in memory
  friend auto operator<=>(const IntegrityCapacity&, const IntegrityCapacity&) = default;
};

// Whether an MR with that capacity, and so many segments of data, maps the lists; the statuses are
// those of FastMr::map_integrity, whose keys this does not look at.
PostStatus check_protected_lists(const IntegrityCapacity& capacity, uint32_t max_segments,
                                 std::span<const Sge> data, std::span<const Sge> protection,
                                 const IntegrityAttributes& attributes);

}  // namespace mrpool
