// Blocks that identify themselves: fio's `verify=crc32c`, with enough in the header to distinguish
// stale data from wrong data.
//
// Each block of an I/O's size carries where it belongs, which write put it there, and a CRC32C over
// all of it. A read distinguishes damage, misplacement and a lost or reordered write.
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mrpool::load {

// The header of a block. Host byte order: the reader is the writer's machine.
struct BlockHeader {
  uint32_t magic = 0;
  uint32_t crc32c = 0;    // over the block from behind this field to its end
  uint64_t offset = 0;    // bytes from the start of the namespace
  uint64_t run = 0;       // which run of the load generator wrote it
  uint64_t sequence = 0;  // which write of that run
  uint64_t length = 0;    // bytes of the block, header included
};
static_assert(sizeof(BlockHeader) == 40);

inline constexpr size_t kSmallestBlock = 64;  // header plus some body

struct BlockIdentity {
  uint64_t offset = 0;
  uint64_t run = 0;
  uint64_t sequence = 0;
};

// Fills `block` (at least kSmallestBlock bytes, a multiple of 8) so that check_block accepts it.
void fill_block(std::span<std::byte> block, const BlockIdentity& identity);

enum class BlockFault : uint8_t {
  kNone,
  kNoHeader,   // never written by a load generator, or overwritten by something else
  kDamaged,    // the CRC disagrees
  kMisplaced,  // intact, but it belongs elsewhere or has another length
  kStale,      // intact and in place, but an earlier (or later) write than expected
};

// Damage and misplacement, no matter which run wrote the block.
BlockFault check_block(std::span<const std::byte> block, uint64_t offset);
// The same, and that it is exactly the write `identity` names.
BlockFault check_block(std::span<const std::byte> block, const BlockIdentity& identity);

// "verify: block at 4096 is stale: run 7 sequence 12, expected run 7 sequence 13".
std::string describe(BlockFault fault, std::span<const std::byte> block,
                     const BlockIdentity& expected);

}  // namespace mrpool::load
