#include "examples/protocol/nvme/wire.h"

#include <algorithm>
#include <cstdio>

#include "examples/base/printable.h"

namespace mrpool::nvme {

namespace {

std::string_view name_of(AdminOpcode opcode) {
  switch (opcode) {
    case AdminOpcode::kDeleteSq:
      return "Delete I/O Submission Queue";
    case AdminOpcode::kCreateSq:
      return "Create I/O Submission Queue";
    case AdminOpcode::kGetLogPage:
      return "Get Log Page";
    case AdminOpcode::kDeleteCq:
      return "Delete I/O Completion Queue";
    case AdminOpcode::kCreateCq:
      return "Create I/O Completion Queue";
    case AdminOpcode::kIdentify:
      return "Identify";
    case AdminOpcode::kAbort:
      return "Abort";
    case AdminOpcode::kSetFeatures:
      return "Set Features";
    case AdminOpcode::kGetFeatures:
      return "Get Features";
    case AdminOpcode::kAsyncEventRequest:
      return "Asynchronous Event Request";
    case AdminOpcode::kKeepAlive:
      return "Keep Alive";
    case AdminOpcode::kFormat:
      return "Format NVM";
  }
  return {};
}

std::string_view name_of(IoOpcode opcode) {
  switch (opcode) {
    case IoOpcode::kFlush:
      return "Flush";
    case IoOpcode::kWrite:
      return "Write";
    case IoOpcode::kRead:
      return "Read";
    case IoOpcode::kWriteUncorrectable:
      return "Write Uncorrectable";
    case IoOpcode::kCompare:
      return "Compare";
    case IoOpcode::kWriteZeroes:
      return "Write Zeroes";
    case IoOpcode::kDatasetManagement:
      return "Dataset Management";
    case IoOpcode::kVerify:
      return "Verify";
    case IoOpcode::kReservationRegister:
      return "Reservation Register";
    case IoOpcode::kReservationReport:
      return "Reservation Report";
    case IoOpcode::kReservationAcquire:
      return "Reservation Acquire";
    case IoOpcode::kReservationRelease:
      return "Reservation Release";
    case IoOpcode::kCopy:
      return "Copy";
  }
  return {};
}

std::string_view name_of(FabricsType type) {
  switch (type) {
    case FabricsType::kPropertySet:
      return "Property Set";
    case FabricsType::kConnect:
      return "Connect";
    case FabricsType::kPropertyGet:
      return "Property Get";
    case FabricsType::kAuthSend:
      return "Authentication Send";
    case FabricsType::kAuthReceive:
      return "Authentication Receive";
    case FabricsType::kDisconnect:
      return "Disconnect";
  }
  return {};
}

}  // namespace

std::string name_of(const Sqe& command, bool admin) {
  std::string_view name;
  if (command.opcode == kFabricsOpcode) {
    name = name_of(read_struct<FabricsCommand>(bytes_of(command)).type);
  } else if (admin) {
    name = name_of(AdminOpcode(command.opcode));
  } else {
    name = name_of(IoOpcode(command.opcode));
  }
  if (!name.empty()) return std::string(name);
  char number[8];
  std::snprintf(number, sizeof number, "0x%02x", unsigned(command.opcode));
  return std::string(admin ? "admin command " : "I/O command ") + number;
}

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

bool valid_nqn(std::string_view nqn) {
  if (nqn.size() > kMaxNqnBytes || !nqn.starts_with("nqn.")) return false;
  // UTF-8 without blanks and control characters ([base] 4.5): nothing that a terminal would take
  // for more than a name.
  if (nqn.find(' ') != std::string_view::npos || base::printable(nqn) != nqn) return false;
  // "nqn.yyyy-mm." and at least one byte of a domain.
  constexpr std::string_view kShape = "nqn.dddd-dd.";
  if (nqn.size() <= kShape.size()) return false;
  for (size_t i = 0; i < kShape.size(); ++i) {
    const bool good = kShape[i] == 'd' ? nqn[i] >= '0' && nqn[i] <= '9' : nqn[i] == kShape[i];
    if (i >= 4 && !good) return false;
  }
  const int month = (nqn[9] - '0') * 10 + (nqn[10] - '0');
  return month >= 1 && month <= 12;
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
