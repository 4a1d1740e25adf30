#include "examples/protocol/scsi/opcodes.h"

#include <algorithm>

#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

constexpr uint8_t X = 0xff;
using C = Command;
using R = Reserved;

// clang-format off
constexpr auto kOperations = std::to_array<Operation>({
  {C::kTestUnitReady, 0x00, -1, "TEST UNIT READY", 6, R::kAllowed, true, {0x00}},
  {C::kRequestSense, 0x03, -1, "REQUEST SENSE", 6, R::kAllowed, false, {0x03, 0x01, 0, 0, X, 0}, {4, 1}},
  {C::kRead6, 0x08, -1, "READ(6)", 6, R::kAllowedAsRead, true, {0x08, 0x1f, X, X, X, 0}},
  {C::kWrite6, 0x0a, -1, "WRITE(6)", 6, R::kConflict, true, {0x0a, 0x1f, X, X, X, 0}},
  {C::kInquiry, 0x12, -1, "INQUIRY", 6, R::kAllowed, false, {0x12, 0x01, X, X, X, 0}, {3, 2}},
  {C::kModeSelect6, 0x15, -1, "MODE SELECT(6)", 6, R::kConflict, false, {0x15, 0x11, 0, 0, X, 0}},
  {C::kModeSense6, 0x1a, -1, "MODE SENSE(6)", 6, R::kAllowedAsRead, false, {0x1a, 0x08, X, X, X, 0}, {4, 1}},
  {C::kStartStopUnit, 0x1b, -1, "START STOP UNIT", 6, R::kDecidesItself, false, {0x1b, 0x01, 0, 0x0f, 0xf7, 0}},
  {C::kReadCapacity10, 0x25, -1, "READ CAPACITY(10)", 10, R::kAllowed, true, {0x25, 0, X, X, X, X, 0, 0, 0x01, 0}},
  {C::kRead10, 0x28, -1, "READ(10)", 10, R::kAllowedAsRead, true, {0x28, 0xf8, X, X, X, X, 0, X, X, 0}},
  {C::kWrite10, 0x2a, -1, "WRITE(10)", 10, R::kConflict, true, {0x2a, 0xf8, X, X, X, X, 0, X, X, 0}},
  {C::kWriteVerify10, 0x2e, -1, "WRITE AND VERIFY(10)", 10, R::kConflict, true, {0x2e, 0xf6, X, X, X, X, 0, X, X, 0}},
  {C::kVerify10, 0x2f, -1, "VERIFY(10)", 10, R::kAllowedAsRead, true, {0x2f, 0xf6, X, X, X, X, 0, X, X, 0}},
  {C::kSynchronizeCache10, 0x35, -1, "SYNCHRONIZE CACHE(10)", 10, R::kConflict, true, {0x35, 0x02, X, X, X, X, 0, X, X, 0}},
  {C::kWriteLong10, 0x3f, -1, "WRITE LONG(10)", 10, R::kConflict, true, {0x3f, 0xe0, X, X, X, X, 0, 0, 0, 0}},
  {C::kWriteSame10, 0x41, -1, "WRITE SAME(10)", 10, R::kConflict, true, {0x41, 0xf8, X, X, X, X, 0, X, X, 0}},
  {C::kUnmap, 0x42, -1, "UNMAP", 10, R::kConflict, true, {0x42, 0x01, 0, 0, 0, 0, 0, X, X, 0}},
  {C::kModeSelect10, 0x55, -1, "MODE SELECT(10)", 10, R::kConflict, false, {0x55, 0x11, 0, 0, 0, 0, 0, X, X, 0}},
  {C::kModeSense10, 0x5a, -1, "MODE SENSE(10)", 10, R::kAllowedAsRead, false, {0x5a, 0x18, X, X, 0, 0, 0, X, X, 0}, {7, 2}},
  {C::kPersistentReserveIn, 0x5e, 0, "PERSISTENT RESERVE IN, READ KEYS", 10, R::kAllowed, false, {0x5e, 0x00, 0, 0, 0, 0, 0, X, X, 0}, {7, 2}},
  {C::kPersistentReserveIn, 0x5e, 1, "PERSISTENT RESERVE IN, READ RESERVATION", 10, R::kAllowed, false, {0x5e, 0x01, 0, 0, 0, 0, 0, X, X, 0}, {7, 2}},
  {C::kPersistentReserveIn, 0x5e, 2, "PERSISTENT RESERVE IN, REPORT CAPABILITIES", 10, R::kAllowed, false, {0x5e, 0x02, 0, 0, 0, 0, 0, X, X, 0}, {7, 2}},
  {C::kPersistentReserveIn, 0x5e, 3, "PERSISTENT RESERVE IN, READ FULL STATUS", 10, R::kAllowed, false, {0x5e, 0x03, 0, 0, 0, 0, 0, X, X, 0}, {7, 2}},
  {C::kPersistentReserveOut, 0x5f, 0, "PERSISTENT RESERVE OUT, REGISTER", 10, R::kDecidesItself, false, {0x5f, 0x00, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 1, "PERSISTENT RESERVE OUT, RESERVE", 10, R::kDecidesItself, false, {0x5f, 0x01, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 2, "PERSISTENT RESERVE OUT, RELEASE", 10, R::kDecidesItself, false, {0x5f, 0x02, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 3, "PERSISTENT RESERVE OUT, CLEAR", 10, R::kDecidesItself, false, {0x5f, 0x03, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 4, "PERSISTENT RESERVE OUT, PREEMPT", 10, R::kDecidesItself, false, {0x5f, 0x04, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 5, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT", 10, R::kDecidesItself, false, {0x5f, 0x05, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 6, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", 10, R::kDecidesItself, false, {0x5f, 0x06, X, 0, 0, X, X, X, X, 0}},
  {C::kPersistentReserveOut, 0x5f, 7, "PERSISTENT RESERVE OUT, REGISTER AND MOVE", 10, R::kDecidesItself, false, {0x5f, 0x07, X, 0, 0, X, X, X, X, 0}},
  {C::kExtendedCopy, 0x83, 0, "EXTENDED COPY(LID1)", 16, R::kConflict, false, {0x83, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, X, X, X, X, 0, 0}},
  {C::kReceiveCopyStatus, 0x84, 0, "RECEIVE COPY STATUS(LID1)", 16, R::kConflict, false, {0x84, 0x00, X, 0, 0, 0, 0, 0, 0, 0, X, X, X, X, 0, 0}, {10, 4}},
  {C::kReceiveCopyParameters, 0x84, 3, "RECEIVE COPY OPERATING PARAMETERS", 16, R::kConflict, false, {0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, X, X, X, X, 0, 0}, {10, 4}},
  {C::kReceiveCopyDetails, 0x84, 4, "RECEIVE COPY FAILURE DETAILS(LID1)", 16, R::kConflict, false, {0x84, 0x04, X, 0, 0, 0, 0, 0, 0, 0, X, X, X, X, 0, 0}, {10, 4}},
  {C::kRead16, 0x88, -1, "READ(16)", 16, R::kAllowedAsRead, true, {0x88, 0xf8, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kCompareAndWrite, 0x89, -1, "COMPARE AND WRITE", 16, R::kConflict, true, {0x89, 0xf8, X, X, X, X, X, X, X, X, 0, 0, 0, X, 0, 0}},
  {C::kWrite16, 0x8a, -1, "WRITE(16)", 16, R::kConflict, true, {0x8a, 0xf8, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kWriteVerify16, 0x8e, -1, "WRITE AND VERIFY(16)", 16, R::kConflict, true, {0x8e, 0xf6, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kVerify16, 0x8f, -1, "VERIFY(16)", 16, R::kAllowedAsRead, true, {0x8f, 0xf6, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kSynchronizeCache16, 0x91, -1, "SYNCHRONIZE CACHE(16)", 16, R::kConflict, true, {0x91, 0x02, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kWriteSame16, 0x93, -1, "WRITE SAME(16)", 16, R::kConflict, true, {0x93, 0xf9, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kReadCapacity16, 0x9e, 0x10, "READ CAPACITY(16)", 16, R::kAllowed, true, {0x9e, 0x10, X, X, X, X, X, X, X, X, X, X, X, X, 0x01, 0}, {10, 4}},
  {C::kGetLbaStatus, 0x9e, 0x12, "GET LBA STATUS", 16, R::kAllowed, true, {0x9e, 0x12, X, X, X, X, X, X, X, X, X, X, X, X, 0, 0}, {10, 4}},
  {C::kWriteLong16, 0x9f, 0x11, "WRITE LONG(16)", 16, R::kConflict, true, {0x9f, 0xf1, X, X, X, X, X, X, X, X, 0, 0, 0, 0, 0, 0}},
  {C::kReportLuns, 0xa0, -1, "REPORT LUNS", 12, R::kAllowed, false, {0xa0, 0, X, 0, 0, 0, X, X, X, X, 0, 0}, {6, 4}},
  {C::kReportPortGroups, 0xa3, 0x0a, "REPORT TARGET PORT GROUPS", 12, R::kAllowed, false, {0xa3, 0xea, 0, 0, 0, 0, X, X, X, X, 0, 0}, {6, 4}},
  {C::kReportSupportedOpcodes, 0xa3, 0x0c, "REPORT SUPPORTED OPERATION CODES", 12, R::kAllowedAsRead, false, {0xa3, 0x0c, 0x87, X, X, X, X, X, X, X, 0, 0}, {6, 4}},
  {C::kReportSupportedFunctions, 0xa3, 0x0d, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 12, R::kAllowed, false, {0xa3, 0x0d, 0x80, 0, 0, 0, X, X, X, X, 0, 0}, {6, 4}},
  {C::kSetPortGroups, 0xa4, 0x0a, "SET TARGET PORT GROUPS", 12, R::kConflict, false, {0xa4, 0x0a, 0, 0, 0, 0, X, X, X, X, 0, 0}},
  {C::kRead12, 0xa8, -1, "READ(12)", 12, R::kAllowedAsRead, true, {0xa8, 0xf8, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kWrite12, 0xaa, -1, "WRITE(12)", 12, R::kConflict, true, {0xaa, 0xf8, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kWriteVerify12, 0xae, -1, "WRITE AND VERIFY(12)", 12, R::kConflict, true, {0xae, 0xf6, X, X, X, X, X, X, X, X, 0, 0}},
  {C::kVerify12, 0xaf, -1, "VERIFY(12)", 12, R::kAllowedAsRead, true, {0xaf, 0xf6, X, X, X, X, X, X, X, X, 0, 0}},
});
// clang-format on

// Where in kOperations the rows of an operation code begin: dispatch is one load.
constexpr uint8_t kNone = 0xff;
constexpr std::array<uint8_t, 256> kFirstRow = [] {
  std::array<uint8_t, 256> rows{};
  rows.fill(kNone);
  for (size_t i = kOperations.size(); i-- > 0;) rows[kOperations[i].opcode] = uint8_t(i);
  return rows;
}();
static_assert(kOperations.size() < kNone);
static_assert(std::ranges::is_sorted(kOperations, {}, &Operation::opcode));
// The device server evaluates every bit of an allocation length.
static_assert(std::ranges::all_of(kOperations, [](const Operation& operation) {
  for (uint8_t i = 0; i < operation.allocation.size; ++i) {
    if (operation.usage[operation.allocation.at + i] != X) return false;
  }
  return true;
}));

}  // namespace

std::span<const Operation> operations() { return kOperations; }

const Operation* find_operation(uint8_t opcode, int service_action) {
  for (size_t row = kFirstRow[opcode]; row < kOperations.size(); ++row) {
    const Operation& operation = kOperations[row];
    if (operation.opcode != opcode) break;
    if (operation.service_action < 0 || operation.service_action == service_action) {
      return &operation;
    }
  }
  return nullptr;
}

const Operation* find_operation(const Cdb& cdb) { return find_operation(cdb[0], cdb[1] & 0x1f); }

bool has_service_actions(uint8_t opcode) {
  const uint8_t row = kFirstRow[opcode];
  return row != kNone && kOperations[row].service_action >= 0;
}

std::optional<uint64_t> allocation_length(const Cdb& cdb) {
  const Operation* operation = find_operation(cdb);
  if (operation == nullptr) return std::nullopt;
  const uint8_t* field = &cdb[operation->allocation.at];
  switch (operation->allocation.size) {
    case 1:
      return *field;
    case 2:
      return be::load16(field);
    case 4:
      return be::load32(field);
    default:
      return std::nullopt;
  }
}

bool knows_opcode(uint8_t opcode) { return kFirstRow[opcode] != kNone; }

}  // namespace mrpool::scsi
