// Commands that move blocks: reads, writes, verification, WRITE SAME, UNMAP (SBC-3 §5).
#include <algorithm>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/unit_commands.h"

namespace mrpool::scsi {
namespace {

struct Blocks {
  uint64_t lba = 0;
  uint64_t count = 0;
  uint16_t lba_field = 2;
  uint16_t count_field = 0;
};

// Where the commands that move blocks keep LBA and TRANSFER LENGTH; it follows from the length of
// the CDB (SBC-3 §5).
Blocks blocks_of(const Operation& operation, const Cdb& cdb) {
  switch (operation.length) {
    case 6:
      return {be::load24(&cdb[1]) & 0x1fffff, cdb[4] == 0 ? 256u : cdb[4], 1, 4};
    case 10:
      return {be::load32(&cdb[2]), be::load16(&cdb[7]), 2, 7};
    case 12:
      return {be::load32(&cdb[2]), be::load32(&cdb[6]), 2, 6};
    default:
      return {be::load64(&cdb[2]), be::load32(&cdb[10]), 2, 10};
  }
}

}  // namespace

struct LogicalUnit::Transfer {
  Plan::Kind kind;
  Blocks blocks;
  uint64_t sent_blocks;  // of data-out
  uint64_t limit;        // of blocks
  bool writes = false;
  bool byte_check = false;  // BYTCHK: what is read is compared
};

Plan LogicalUnit::read(const Request& request) {
  return move(request, {.kind = Plan::Kind::kRead,
                        .blocks = blocks_of(request.operation, request.cdb),
                        .sent_blocks = 0,
                        .limit = facts_.max_transfer_blocks});
}

Plan LogicalUnit::write(const Request& request) {
  const Blocks blocks = blocks_of(request.operation, request.cdb);
  return move(request, {.kind = Plan::Kind::kWrite,
                        .blocks = blocks,
                        .sent_blocks = blocks.count,
                        .limit = facts_.max_transfer_blocks,
                        .writes = true});
}

Plan LogicalUnit::write_and_verify(const Request& request) {
  const Blocks blocks = blocks_of(request.operation, request.cdb);
  return move(request, {.kind = Plan::Kind::kWriteAndVerify,
                        .blocks = blocks,
                        .sent_blocks = blocks.count,
                        .limit = facts_.max_transfer_blocks,
                        .writes = true,
                        .byte_check = true});
}

Plan LogicalUnit::verify(const Request& request) {
  const Blocks blocks = blocks_of(request.operation, request.cdb);
  const bool compares = (request.cdb[1] >> 1 & 3) == 1;
  return move(request, {.kind = Plan::Kind::kVerify,
                        .blocks = blocks,
                        .sent_blocks = compares ? blocks.count : 0,
                        .limit = facts_.max_transfer_blocks,
                        .byte_check = true});
}

// One byte for its length, and both halves travel.
Plan LogicalUnit::compare_and_write(const Request& request) {
  Blocks blocks = blocks_of(request.operation, request.cdb);
  blocks.count = request.cdb[13];
  blocks.count_field = 13;
  return move(request, {.kind = Plan::Kind::kCompareAndWrite,
                        .blocks = blocks,
                        .sent_blocks = 2 * blocks.count,
                        .limit = std::min(kMaxCompareBlocks, facts_.max_transfer_blocks / 2),
                        .writes = true});
}

Plan LogicalUnit::move(const Request& request, const Transfer& transfer) {
  const auto& [nexus, operation, cdb, data_in] = request;
  const Blocks& blocks = transfer.blocks;
  Plan plan{.kind = transfer.kind};
  if (operation.length != 6) {
    if ((cdb[1] & 0xe0) != 0) return check(kInvalidFieldInCdb.at_cdb(1));  // no protection here
    plan.fua = (cdb[1] & 0x08) != 0;
  }
  if (transfer.byte_check) {
    plan.fua = transfer.writes;  // verified on the medium, not in a cache
    const uint8_t byte_check = cdb[1] >> 1 & 3;
    if (byte_check > 1) return check(kInvalidFieldInCdb.at_cdb(1));
    plan.compare = byte_check == 1;
  }
  if (!holds(nexus.view_.blocks, blocks.lba, blocks.count)) {
    return check(kLbaOutOfRange.at_cdb(blocks.lba_field));
  }
  if (blocks.count > transfer.limit) return check(kInvalidFieldInCdb.at_cdb(blocks.count_field));
  if (transfer.writes && write_protected(nexus)) return check(kWriteProtected);
  if (blocks.count == 0) return good();
  if (transfer.writes && write_through(nexus)) plan.fua = true;
  plan.lba = blocks.lba;
  plan.blocks = blocks.count;
  plan.data_out = transfer.sent_blocks * facts_.block_size;
  return plan;
}

Plan LogicalUnit::write_same(const Request& request) {
  const auto& [nexus, operation, cdb, data_in] = request;
  const Blocks blocks = blocks_of(operation, cdb);
  const bool no_data = operation.command == Command::kWriteSame16 && (cdb[1] & 0x01) != 0;
  const bool unmap_bit = (cdb[1] & 0x08) != 0;
  // WRPROTECT, ANCHOR, PBDATA, LBDATA.
  if ((cdb[1] & 0xf6) != 0) return check(kInvalidFieldInCdb.at_cdb(1));
  if (unmap_bit && !facts_.thin) return check(kInvalidFieldInCdb.at_cdb(1));
  if (!holds(nexus.view_.blocks, blocks.lba, blocks.count)) {
    return check(kLbaOutOfRange.at_cdb(2));
  }
  if (blocks.count == 0 || blocks.count > kMaxWriteSameBlocks) {  // WSNZ
    return check(kInvalidFieldInCdb.at_cdb(blocks.count_field));
  }
  if (write_protected(nexus)) return check(kWriteProtected);
  return {.kind = no_data ? Plan::Kind::kZero : Plan::Kind::kWriteSame,
          .lba = blocks.lba,
          .blocks = blocks.count,
          .data_out = no_data ? 0 : facts_.block_size,
          .fua = write_through(nexus),
          .deallocate = unmap_bit};
}

// Of WRITE LONG there is one use: WR_UNCOR, which marks a block as uncorrectable and transfers no
// data, whatever the byte transfer length. There is no error correction that could be written or
// switched off (COR_DIS), and a physical block is a logical block (PBLOCK).
Plan LogicalUnit::write_long(const Request& request) {
  constexpr uint8_t kOptions = 0xe0, kWriteUncorrectable = 0x40;
  const Cdb& cdb = request.cdb;
  if ((cdb[1] & kOptions) != kWriteUncorrectable) return check(kInvalidFieldInCdb.at_cdb(1));
  const uint64_t lba = request.operation.length == 10 ? be::load32(&cdb[2]) : be::load64(&cdb[2]);
  if (!holds(request.nexus.view_.blocks, lba, 1)) return check(kLbaOutOfRange.at_cdb(2));
  if (write_protected(request.nexus)) return check(kWriteProtected);
  return {.kind = Plan::Kind::kMark, .lba = lba, .blocks = 1};
}

Plan LogicalUnit::synchronize_cache(const Request& request) {
  const Blocks blocks = blocks_of(request.operation, request.cdb);
  if (!holds(request.nexus.view_.blocks, blocks.lba, blocks.count)) {
    return check(kLbaOutOfRange.at_cdb(2));
  }
  return {.kind = Plan::Kind::kFlush};
}

Plan LogicalUnit::take_unmap_list(const Request& request) {
  if ((request.cdb[1] & 0x01) != 0) return check(kInvalidFieldInCdb.at_cdb(1));  // ANCHOR
  if (write_protected(request.nexus)) return check(kWriteProtected);
  return parameters(be::load16(&request.cdb[7]));
}

Plan LogicalUnit::unmap(const ParameterList& parameters) {
  const std::span<const uint8_t> list = parameters.bytes;
  std::vector<Range>& ranges = parameters.ranges;
  ranges.clear();
  if (list.empty()) return good();
  if (list.size() < 8) return check(kParameterListLength);
  const size_t described = be::load16(&list[2]);
  const size_t present = std::min(described, list.size() - 8) / 16;
  if (present > kMaxUnmapDescriptors) return check(kInvalidFieldInParameters.at_parameter(2));
  uint64_t total = 0;
  for (size_t i = 0; i < present; ++i) {
    const uint8_t* descriptor = &list[8 + 16 * i];
    const Range range{be::load64(descriptor), be::load32(descriptor + 8)};
    if (!holds(parameters.nexus.view_.blocks, range.lba, range.blocks))
      return check(kLbaOutOfRange);
    total += range.blocks;
    if (total > kMaxUnmapBlocks) {
      return check(kInvalidFieldInParameters.at_parameter(uint16_t(8 + 16 * i + 8)));
    }
    if (range.blocks != 0) ranges.push_back(range);
  }
  if (ranges.empty()) return good();
  return {.kind = Plan::Kind::kUnmap, .fua = write_through(parameters.nexus)};
}

}  // namespace mrpool::scsi
