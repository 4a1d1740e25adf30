#include "examples/protocol/nvme/wire.h"

#include <algorithm>
#include <cstdio>

namespace mrpool::nvme {

std::string_view to_string(RdmaStatus status) {
  switch (status) {
    case RdmaStatus::kInvalidLength:
      return "invalid private data length";
    case RdmaStatus::kInvalidRecordFormat:
      return "invalid record format";
    case RdmaStatus::kInvalidQueueId:
      return "invalid queue id";
    case RdmaStatus::kInvalidHostSendSize:
      return "invalid host send queue size";
    case RdmaStatus::kInvalidHostReceiveSize:
      return "invalid host receive queue size";
    case RdmaStatus::kNoResources:
      return "no resources";
    case RdmaStatus::kInvalidIrd:
      return "invalid IRD";
    case RdmaStatus::kInvalidOrd:
      return "invalid ORD";
    case RdmaStatus::kInvalidControllerId:
      return "invalid controller id";
  }
  return "unknown reason";
}

namespace {

std::string_view name_of(Status status, bool fabrics) {
  if (fabrics) {
    switch (status) {
      case Status::kConnectIncompatibleFormat:
        return "connect_incompatible_format";
      case Status::kConnectControllerBusy:
        return "connect_controller_busy";
      case Status::kConnectInvalidParameters:
        return "connect_invalid_parameters";
      case Status::kConnectRestartDiscovery:
        return "connect_restart_discovery";
      default:
        break;
    }
  }
  switch (status) {
    case Status::kSuccess:
      return "success";
    case Status::kInvalidOpcode:
      return "invalid_opcode";
    case Status::kInvalidField:
      return "invalid_field";
    case Status::kCommandIdConflict:
      return "command_id_conflict";
    case Status::kDataTransferError:
      return "data_transfer_error";
    case Status::kInternal:
      return "internal_error";
    case Status::kAbortRequested:
      return "abort_requested";
    case Status::kAbortSqDeletion:
      return "abort_sq_deletion";
    case Status::kInvalidNamespace:
      return "invalid_namespace_or_format";
    case Status::kCommandSequence:
      return "command_sequence_error";
    case Status::kInvalidSglSegment:
      return "invalid_sgl_segment_descriptor";
    case Status::kInvalidSglCount:
      return "invalid_number_of_sgl_descriptors";
    case Status::kSglDataLength:
      return "data_sgl_length_invalid";
    case Status::kSglMetadataLength:
      return "metadata_sgl_length_invalid";
    case Status::kSglType:
      return "sgl_descriptor_type_invalid";
    case Status::kSglOffset:
      return "sgl_offset_invalid";
    case Status::kHostIdInconsistent:
      return "host_identifier_inconsistent_format";
    case Status::kKeepAliveExpired:
      return "keep_alive_timeout_expired";
    case Status::kKeepAliveInvalid:
      return "keep_alive_timeout_invalid";
    case Status::kSanitizeInProgress:
      return "sanitize_in_progress";
    case Status::kSglBlockGranularity:
      return "sgl_data_block_granularity_invalid";
    case Status::kNamespaceWriteProtected:
      return "namespace_write_protected";
    case Status::kTransientTransport:
      return "transient_transport_error";
    case Status::kLbaOutOfRange:
      return "lba_out_of_range";
    case Status::kCapacityExceeded:
      return "capacity_exceeded";
    case Status::kNamespaceNotReady:
      return "namespace_not_ready";
    case Status::kInvalidQueueId:
      return "invalid_queue_identifier";
    case Status::kInvalidQueueSize:
      return "invalid_queue_size";
    case Status::kAbortLimitExceeded:
      return "abort_command_limit_exceeded";
    case Status::kAsyncEventLimitExceeded:
      return "async_event_request_limit_exceeded";
    case Status::kInvalidLogPage:
      return "invalid_log_page";
    case Status::kFeatureNotSaveable:
      return "feature_identifier_not_saveable";
    case Status::kFeatureNotChangeable:
      return "feature_not_changeable";
    case Status::kFeatureNotNamespaceSpecific:
      return "feature_not_namespace_specific";
    case Status::kConflictingAttributes:
      return "conflicting_attributes";
    case Status::kConnectControllerBusy:
      return "invalid_protection_information";
    case Status::kReadOnlyRange:
      return "attempted_write_to_read_only_range";
    case Status::kCommandSizeLimitExceeded:
      return "command_size_limit_exceeded";
    case Status::kConnectInvalidHost:
      return "connect_invalid_host";
    case Status::kInvalidQueueType:
      return "invalid_queue_type";
    case Status::kDiscoverRestart:
      return "discover_restart";
    case Status::kAuthRequired:
      return "authentication_required";
    case Status::kWriteFault:
      return "write_fault";
    case Status::kUnrecoveredRead:
      return "unrecovered_read_error";
    case Status::kCompareFailure:
      return "compare_failure";
    case Status::kAccessDenied:
      return "access_denied";
    case Status::kDeallocatedBlock:
      return "deallocated_or_unwritten_block";
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

bool valid_nqn(std::string_view nqn) {
  if (nqn.size() > kMaxNqnBytes || !nqn.starts_with("nqn.")) return false;
  if (std::any_of(nqn.begin(), nqn.end(), [](char c) { return uint8_t(c) < 0x21 || c == 0x7f; })) {
    return false;
  }
  // "nqn.yyyy-mm." and at least one byte of a domain.
  constexpr std::string_view kShape = "nqn.dddd-dd.";
  if (nqn.size() <= kShape.size()) return false;
  for (size_t i = 0; i < kShape.size(); ++i) {
    const bool good = kShape[i] == 'd' ? nqn[i] >= '0' && nqn[i] <= '9' : nqn[i] == kShape[i];
    if (i >= 4 && !good) return false;
  }
  return true;
}

std::string_view field_string(std::span<const char> field) {
  const auto end = std::find(field.begin(), field.end(), '\0');
  if (end == field.end()) return {};
  return {field.data(), size_t(end - field.begin())};
}

void set_field(std::span<char> field, std::string_view text) {
  const size_t n = std::min(field.size(), text.size());
  std::copy_n(text.begin(), n, field.begin());
  std::fill(field.begin() + n, field.end(), '\0');
}

void set_blank_padded(std::span<char> field, std::string_view text) {
  const size_t n = std::min(field.size(), text.size());
  std::copy_n(text.begin(), n, field.begin());
  std::fill(field.begin() + n, field.end(), ' ');
}

}  // namespace mrpool::nvme
