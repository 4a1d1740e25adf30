// A SCSI target device: its logical units by LUN, and the commands that need no particular one.
//
// Thread safety: one thread. Ownership: the device owns its units; their addresses stay.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "examples/protocol/scsi/logical_unit.h"

namespace mrpool::scsi {

// A LUN in the eight bytes of a SAM-5 LUN structure, and back. Single level, peripheral or flat
// addressing; nothing for anything else.
std::optional<uint16_t> decode_lun(uint64_t structure);
uint64_t encode_lun(uint16_t lun);

class TargetDevice {
 public:
  LogicalUnit* find(uint16_t lun);
  LogicalUnit* find_structure(uint64_t lun);
  LogicalUnit& add(uint16_t lun, std::unique_ptr<LogicalUnit> unit);
  // Requires that it exists. The caller keeps it until its last command has ended.
  std::unique_ptr<LogicalUnit> remove(uint16_t lun);
  const std::map<uint16_t, std::unique_ptr<LogicalUnit>>& units() const { return units_; }

  // REPORT LUNS, whichever LUN it is sent to.
  Plan report_luns(const Cdb& cdb, std::vector<uint8_t>& data_in) const;
  // Any command to a LUN that does not exist (SAM-5 §5.11).
  static Plan without_unit(const Cdb& cdb, std::vector<uint8_t>& data_in);

  void reset(const Sense& attention);

 private:
  std::map<uint16_t, std::unique_ptr<LogicalUnit>> units_;
};

}  // namespace mrpool::scsi
