// REPORT SUPPORTED OPERATION CODES, from the table of opcodes.cc, and REPORT SUPPORTED TASK
// MANAGEMENT FUNCTIONS (SPC-4 §6.32, §6.36).
#include <array>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/unit_commands.h"

namespace mrpool::scsi {

Plan LogicalUnit::supported_opcodes(const Request& request) {
  const Cdb& cdb = request.cdb;
  std::vector<uint8_t>& data_in = request.data_in;
  const uint8_t option = cdb[2] & 0x07;
  const bool timeouts = (cdb[2] & 0x80) != 0;  // RCTD
  const uint8_t opcode = cdb[3];
  const uint16_t service_action = be::load16(&cdb[4]);
  constexpr size_t kTimeoutDescriptor = 12;  // all zero: no timeout is recommended
  const auto append_timeouts = [&] {
    data_in.push_back(0);
    data_in.push_back(uint8_t(kTimeoutDescriptor - 2));
    data_in.resize(data_in.size() + kTimeoutDescriptor - 2);
  };
  if (option == 0) {
    data_in.assign(4, 0);
    for (const Operation& operation : operations()) {
      if (supported(&operation) == nullptr) continue;
      std::array<uint8_t, 8> descriptor{};
      descriptor[0] = operation.opcode;
      if (operation.service_action >= 0) {
        be::store16(&descriptor[2], uint16_t(operation.service_action));
        descriptor[5] |= 0x01;  // SERVACTV
      }
      if (timeouts) descriptor[5] |= 0x02;  // CTDP
      be::store16(&descriptor[6], operation.length);
      data_in.insert(data_in.end(), descriptor.begin(), descriptor.end());
      if (timeouts) append_timeouts();
    }
    be::store32(data_in.data(), uint32_t(data_in.size() - 4));
    return good();
  }
  if (option > 3) return check(kInvalidFieldInCdb.at_cdb(2));
  const bool with_actions = has_service_actions(opcode);
  // 1 asks for an operation code without service actions, 2 for one with them (SPC-4 §6.32.1).
  if (option == 1 && with_actions) return check(kInvalidFieldInCdb.at_cdb(2));
  if (option == 2 && knows_opcode(opcode) && !with_actions) {
    return check(kInvalidFieldInCdb.at_cdb(2));
  }
  const Operation* operation =
      supported(find_operation(opcode, with_actions ? int(service_action) : -1));
  data_in.assign(4, 0);
  if (operation == nullptr) {
    data_in[1] = 0x01;  // not supported
    return good();
  }
  data_in[1] = 0x03 | (timeouts ? 0x80 : 0);  // as the standard has it
  be::store16(&data_in[2], operation->length);
  data_in.insert(data_in.end(), operation->usage.begin(),
                 operation->usage.begin() + operation->length);
  if (timeouts) append_timeouts();
  return good();
}

// What management.cc of the target does (SPC-4 §6.36).
Plan LogicalUnit::supported_functions(const Request& request) {
  const Cdb& cdb = request.cdb;
  std::vector<uint8_t>& data_in = request.data_in;
  constexpr uint8_t kAbortTask = 0x80, kAbortTaskSet = 0x40, kClearTaskSet = 0x10,
                    kLogicalUnitReset = 0x08, kTargetReset = 0x02;
  constexpr size_t kShort = 4, kLong = 16;
  const bool extended = (cdb[2] & 0x80) != 0;  // REPD: with the times they take
  if (be::load32(&cdb[6]) < kShort) return check(kInvalidFieldInCdb.at_cdb(6));
  data_in.assign(extended ? kLong : kShort, 0);  // no times are recommended
  data_in[0] = kAbortTask | kAbortTaskSet | kClearTaskSet | kLogicalUnitReset | kTargetReset;
  if (extended) data_in[3] = kLong - kShort;
  return good();
}

}  // namespace mrpool::scsi
