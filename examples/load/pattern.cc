#include "examples/load/pattern.h"

#include <isa-l/crc.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::load {
namespace {

constexpr uint32_t kMagic = 0x6c70726d;  // "mrpl"
constexpr size_t kCovered = offsetof(BlockHeader, crc32c) + sizeof(uint32_t);

uint32_t crc_of(std::span<const std::byte> block) {
  // ISA-L takes a non-const pointer and does not write through it.
  auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(block.data()));
  return ~crc32_iscsi(bytes + kCovered, int(block.size() - kCovered), ~0u);
}

BlockHeader header_of(std::span<const std::byte> block) {
  BlockHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  return header;
}

}  // namespace

void fill_block(std::span<std::byte> block, const BlockIdentity& identity) {
  // A xorshift stream seeded by the identity: no two writes have the same body, so a swapped header
  // does not make the data of one pass as another's.
  uint64_t state = (identity.offset * 0x9e3779b97f4a7c15u) ^ (identity.sequence << 1) ^
                   (identity.run * 0xbf58476d1ce4e5b9u) ^ 0x94d049bb133111ebu;
  for (size_t at = sizeof(BlockHeader); at < block.size(); at += sizeof state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(block.data() + at, &state, sizeof state);
  }
  BlockHeader header{.magic = kMagic,
                     .offset = identity.offset,
                     .run = identity.run,
                     .sequence = identity.sequence,
                     .length = block.size()};
  std::memcpy(block.data(), &header, sizeof header);
  header.crc32c = crc_of(block);
  std::memcpy(block.data(), &header, sizeof header);
}

BlockFault check_block(std::span<const std::byte> block, uint64_t offset) {
  const BlockHeader header = header_of(block);
  if (header.magic != kMagic) return BlockFault::kNoHeader;
  if (header.crc32c != crc_of(block)) return BlockFault::kDamaged;
  if (header.offset != offset || header.length != block.size()) return BlockFault::kMisplaced;
  return BlockFault::kNone;
}

BlockFault check_block(std::span<const std::byte> block, const BlockIdentity& identity) {
  const BlockFault fault = check_block(block, identity.offset);
  if (fault != BlockFault::kNone) return fault;
  const BlockHeader header = header_of(block);
  return header.run == identity.run && header.sequence == identity.sequence ? BlockFault::kNone
                                                                            : BlockFault::kStale;
}

std::string describe(BlockFault fault, std::span<const std::byte> block,
                     const BlockIdentity& expected) {
  const BlockHeader header = header_of(block);
  const std::string where =
      absl::StrCat("verify: block of ", block.size(), " bytes at ", expected.offset);
  switch (fault) {
    case BlockFault::kNone:
      return absl::StrCat(where, " is right");
    case BlockFault::kNoHeader:
      return absl::StrCat(where, " has no verify header (magic ", absl::Hex(header.magic), ")");
    case BlockFault::kDamaged:
      return absl::StrCat(where, " is damaged: crc32c ", absl::Hex(crc_of(block), absl::kZeroPad8),
                          ", its header has ", absl::Hex(header.crc32c, absl::kZeroPad8));
    case BlockFault::kMisplaced:
      return absl::StrCat(where, " is misplaced: its header has ", header.length, " bytes at ",
                          header.offset);
    case BlockFault::kStale:
      return absl::StrCat(where, " is stale: run ", absl::Hex(header.run), " write ",
                          header.sequence, ", expected run ", absl::Hex(expected.run), " write ",
                          expected.sequence);
  }
  return where;
}

}  // namespace mrpool::load
