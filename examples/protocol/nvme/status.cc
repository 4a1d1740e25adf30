#include "examples/protocol/nvme/status.h"

#include <algorithm>
#include <cstdio>
#include <span>
#include <string_view>

namespace mrpool::nvme {
namespace {

struct Name {
  Status status;
  std::string_view name;
};

// Codes that mean something else in the answer to a Fabrics command.
constexpr Name kFabricsNames[] = {
    {Status::kConnectIncompatibleFormat, "connect_incompatible_format"},
    {Status::kConnectControllerBusy, "connect_controller_busy"},
    {Status::kConnectInvalidParameters, "connect_invalid_parameters"},
    {Status::kConnectRestartDiscovery, "connect_restart_discovery"},
};

constexpr Name kNames[] = {
    {Status::kSuccess, "success"},
    {Status::kInvalidOpcode, "invalid_opcode"},
    {Status::kInvalidField, "invalid_field"},
    {Status::kCommandIdConflict, "command_id_conflict"},
    {Status::kDataTransferError, "data_transfer_error"},
    {Status::kInternal, "internal_error"},
    {Status::kAbortRequested, "abort_requested"},
    {Status::kAbortSqDeletion, "abort_sq_deletion"},
    {Status::kFailedFused, "aborted_failed_fused_command"},
    {Status::kMissingFused, "aborted_missing_fused_command"},
    {Status::kInvalidNamespace, "invalid_namespace_or_format"},
    {Status::kCommandSequence, "command_sequence_error"},
    {Status::kInvalidSglSegment, "invalid_sgl_segment_descriptor"},
    {Status::kInvalidSglCount, "invalid_number_of_sgl_descriptors"},
    {Status::kSglDataLength, "data_sgl_length_invalid"},
    {Status::kSglMetadataLength, "metadata_sgl_length_invalid"},
    {Status::kSglType, "sgl_descriptor_type_invalid"},
    {Status::kAtomicWriteUnitExceeded, "atomic_write_unit_exceeded"},
    {Status::kSglOffset, "sgl_offset_invalid"},
    {Status::kHostIdInconsistent, "host_identifier_inconsistent_format"},
    {Status::kKeepAliveExpired, "keep_alive_timeout_expired"},
    {Status::kKeepAliveInvalid, "keep_alive_timeout_invalid"},
    {Status::kPreempted, "aborted_by_preempt"},
    {Status::kSanitizeInProgress, "sanitize_in_progress"},
    {Status::kSglBlockGranularity, "sgl_data_block_granularity_invalid"},
    {Status::kNamespaceWriteProtected, "namespace_write_protected"},
    {Status::kTransientTransport, "transient_transport_error"},
    {Status::kLbaOutOfRange, "lba_out_of_range"},
    {Status::kCapacityExceeded, "capacity_exceeded"},
    {Status::kNamespaceNotReady, "namespace_not_ready"},
    {Status::kReservationConflict, "reservation_conflict"},
    {Status::kInvalidQueueId, "invalid_queue_identifier"},
    {Status::kInvalidQueueSize, "invalid_queue_size"},
    {Status::kAbortLimitExceeded, "abort_command_limit_exceeded"},
    {Status::kAsyncEventLimitExceeded, "async_event_request_limit_exceeded"},
    {Status::kInvalidLogPage, "invalid_log_page"},
    {Status::kInvalidFormat, "invalid_format"},
    {Status::kFeatureNotSaveable, "feature_identifier_not_saveable"},
    {Status::kFeatureNotChangeable, "feature_not_changeable"},
    {Status::kFeatureNotNamespaceSpecific, "feature_not_namespace_specific"},
    {Status::kConflictingAttributes, "conflicting_attributes"},
    {Status::kConnectControllerBusy, "invalid_protection_information"},
    {Status::kReadOnlyRange, "attempted_write_to_read_only_range"},
    {Status::kCommandSizeLimitExceeded, "command_size_limit_exceeded"},
    {Status::kOverlappingRange, "overlapping_io_range"},
    {Status::kConnectInvalidHost, "connect_invalid_host"},
    {Status::kInvalidQueueType, "invalid_queue_type"},
    {Status::kDiscoverRestart, "discover_restart"},
    {Status::kAuthRequired, "authentication_required"},
    {Status::kWriteFault, "write_fault"},
    {Status::kUnrecoveredRead, "unrecovered_read_error"},
    {Status::kCompareFailure, "compare_failure"},
    {Status::kAccessDenied, "access_denied"},
    {Status::kDeallocatedBlock, "deallocated_or_unwritten_block"},
    {Status::kInternalPathError, "internal_path_error"},
    {Status::kAnaPersistentLoss, "asymmetric_access_persistent_loss"},
    {Status::kAnaInaccessible, "asymmetric_access_inaccessible"},
    {Status::kAnaTransition, "asymmetric_access_transition"},
};

std::string_view name_of(Status status, bool fabrics) {
  for (const auto names : {fabrics ? std::span<const Name>(kFabricsNames) : std::span<const Name>(),
                           std::span<const Name>(kNames)}) {
    const auto found = std::ranges::find(names, status, &Name::status);
    if (found != names.end()) return found->name;
  }
  return "status";
}

}  // namespace

std::string to_string(Status status, bool fabrics) {
  char number[32];
  std::snprintf(number, sizeof number, " (0x%03x%s)", unsigned(code(status)),
                do_not_retry(status) ? ", DNR" : "");
  return std::string(name_of(code(status), fabrics)) + number;
}

}  // namespace mrpool::nvme
