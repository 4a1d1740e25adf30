// NVMe completion status: status code type << 8 | status code, as CQE bits 15:1 carry it.
//
// Clauses: [base] 4.6.1 generic and command specific codes, [fab] 3.1 the Fabrics ones, [nvm] 3.1
// media and I/O codes. Thread safety: values.
#pragma once

#include <cstdint>
#include <string>

namespace mrpool::nvme {

enum class Status : uint16_t {
  // Generic, type 0.
  kSuccess = 0x000,
  kInvalidOpcode = 0x001,
  kInvalidField = 0x002,
  kCommandIdConflict = 0x003,
  kDataTransferError = 0x004,
  kInternal = 0x006,
  kAbortRequested = 0x007,
  kAbortSqDeletion = 0x008,
  kFailedFused = 0x009,   // the other command of the fused operation failed
  kMissingFused = 0x00a,  // the other command of the fused operation is not next to it
  kInvalidNamespace = 0x00b,
  kCommandSequence = 0x00c,
  kInvalidSglSegment = 0x00d,
  kInvalidSglCount = 0x00e,
  kSglDataLength = 0x00f,
  kSglMetadataLength = 0x010,
  kSglType = 0x011,
  kAtomicWriteUnitExceeded = 0x014,
  kSglOffset = 0x016,
  kHostIdInconsistent = 0x018,
  kKeepAliveExpired = 0x019,
  kKeepAliveInvalid = 0x01a,
  kPreempted = 0x01b,  // aborted by a Preempt and Abort
  kSanitizeInProgress = 0x01d,
  kSglBlockGranularity = 0x01e,
  kNamespaceWriteProtected = 0x020,
  kTransientTransport = 0x022,
  kLbaOutOfRange = 0x080,
  kCapacityExceeded = 0x081,
  kNamespaceNotReady = 0x082,
  kReservationConflict = 0x083,

  // Command specific, type 1.
  kInvalidQueueId = 0x101,
  kInvalidQueueSize = 0x102,
  kAbortLimitExceeded = 0x103,
  kAsyncEventLimitExceeded = 0x105,
  kInvalidLogPage = 0x109,
  kInvalidFormat = 0x10a,
  kFeatureNotSaveable = 0x10d,
  kFeatureNotChangeable = 0x10e,
  kFeatureNotNamespaceSpecific = 0x10f,
  kConflictingAttributes = 0x180,  // Dataset Management, Read, Write
  kReadOnlyRange = 0x182,
  kCommandSizeLimitExceeded = 0x183,
  kOverlappingRange = 0x187,           // Copy
  kConnectIncompatibleFormat = 0x180,  // Fabrics reuses the numbers
  kConnectControllerBusy = 0x181,
  kConnectInvalidParameters = 0x182,
  kConnectRestartDiscovery = 0x183,
  kConnectInvalidHost = 0x184,
  kInvalidQueueType = 0x185,
  kDiscoverRestart = 0x190,
  kAuthRequired = 0x191,

  // Media and data integrity, type 2.
  kWriteFault = 0x280,
  kUnrecoveredRead = 0x281,
  kCompareFailure = 0x285,
  kAccessDenied = 0x286,
  kDeallocatedBlock = 0x287,

  // Path related, type 3: another path may do it.
  kInternalPathError = 0x300,
  kAnaPersistentLoss = 0x301,
  kAnaInaccessible = 0x302,
  kAnaTransition = 0x303,
};

inline constexpr uint16_t kDnr = 0x4000;   // do not retry
inline constexpr uint16_t kMore = 0x2000;  // more in the error log

constexpr Status with_dnr(Status status) { return Status(uint16_t(status) | kDnr); }
// Type and code without retry hints.
constexpr Status code(Status status) { return Status(uint16_t(status) & 0x7ff); }
constexpr bool ok(Status status) { return code(status) == Status::kSuccess; }
// Path related: the command itself is fine, and another path may execute it.
constexpr bool is_path_error(Status status) { return uint16_t(code(status)) >> 8 == 3; }
constexpr bool do_not_retry(Status status) { return (uint16_t(status) & kDnr) != 0; }
// Command Retry Delay: 0, or which of the delays of Identify Controller to wait for.
constexpr unsigned retry_delay(Status status) { return uint16_t(status) >> 11 & 3; }

// "invalid_field (0x002, DNR)". Codes that Fabrics reuses carry their Fabrics name when `fabrics`.
std::string to_string(Status status, bool fabrics = false);

}  // namespace mrpool::nvme
