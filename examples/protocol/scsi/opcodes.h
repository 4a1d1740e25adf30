// The commands a logical unit knows: one table that dispatch, reservation checks, allocation
// lengths and REPORT SUPPORTED OPERATION CODES share. unit_commands.cc has what is done for each.
//
// Thread safety: the table is constant.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mrpool::scsi {

using Cdb = std::array<uint8_t, 16>;

enum class Command : uint8_t {
  kTestUnitReady,
  kRequestSense,
  kInquiry,
  kModeSelect6,
  kModeSelect10,
  kModeSense6,
  kModeSense10,
  kStartStopUnit,
  kReadCapacity10,
  kReadCapacity16,
  kRead6,
  kRead10,
  kRead12,
  kRead16,
  kWrite6,
  kWrite10,
  kWrite12,
  kWrite16,
  kWriteVerify10,
  kWriteVerify12,
  kWriteVerify16,
  kVerify10,
  kVerify12,
  kVerify16,
  kSynchronizeCache10,
  kSynchronizeCache16,
  kWriteLong10,
  kWriteLong16,
  kWriteSame10,
  kWriteSame16,
  kUnmap,
  kCompareAndWrite,
  kGetLbaStatus,
  kReportLuns,
  kReportSupportedOpcodes,
  kReportSupportedFunctions,
  kPersistentReserveIn,
  kPersistentReserveOut,
  kReportPortGroups,
  kSetPortGroups,
  kExtendedCopy,
  kReceiveCopyStatus,
  kReceiveCopyParameters,
  kReceiveCopyDetails,
};
inline constexpr size_t kCommands = size_t(Command::kReceiveCopyDetails) + 1;

// What a persistent reservation of somebody else leaves possible (SPC-4 §5.13.1, SBC-3 §4.17).
enum class Reserved : uint8_t {
  kAllowed,        // always
  kAllowedAsRead,  // unless the reservation excludes reading
  kConflict,       // never
  kDecidesItself,  // PERSISTENT RESERVE OUT, START STOP UNIT
};
inline constexpr size_t kReservedClasses = 4;

// Where a CDB has its ALLOCATION LENGTH.
struct Field {
  uint8_t at = 0;
  uint8_t size = 0;  // 1, 2 or 4 bytes; 0: the command has none
};

struct Operation {
  Command command;
  uint8_t opcode;
  int service_action;  // -1: the operation code has none
  std::string_view name;
  uint8_t length;  // of the CDB
  Reserved reserved;
  bool needs_medium;  // refused while the unit is stopped
  // CDB USAGE DATA (SPC-4 §6.32.2): the bits the device server evaluates.
  std::array<uint8_t, 16> usage;
  Field allocation{};
};

std::span<const Operation> operations();
// The operation a CDB asks for, null when there is none.
const Operation* find_operation(const Cdb& cdb);
const Operation* find_operation(uint8_t opcode, int service_action);
// True when the operation code exists with service actions only.
bool has_service_actions(uint8_t opcode);
bool knows_opcode(uint8_t opcode);

// How many bytes of data-in the CDB leaves room for; nothing for commands without an allocation
// length, and for unknown ones.
std::optional<uint64_t> allocation_length(const Cdb& cdb);

}  // namespace mrpool::scsi
