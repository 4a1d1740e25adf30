// What RECEIVE COPY STATUS and FAILURE DETAILS report about the copies of one initiator port at one
// unit.
//
// Thread safety: one thread. Ownership: a run that was begun stays until it is ended. Clauses:
// SPC-4 6.23 and 6.25.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "examples/protocol/scsi/copy_run.h"
#include "examples/protocol/scsi/sense.h"

namespace mrpool::scsi {

class CopyRecords {
 public:
  // Copies that have ended; more than these: the oldest is forgotten.
  static constexpr size_t kMaxEnded = 32;

  // False: a copy with this identifier is under way. Otherwise what is known of an earlier one is
  // forgotten.
  bool begin(const CopyRun& run);
  void end(const CopyRun& run, Status status, std::span<const uint8_t> sense);
  // A reset.
  void forget_ended();

  // False: there is no such copy.
  bool report_status(uint8_t id, std::vector<uint8_t>& data);
  // False also for one that is under way. `room`: the allocation length.
  bool report_details(uint8_t id, uint64_t room, std::vector<uint8_t>& data);

 private:
  struct Record {
    uint8_t id = 0;
    const CopyRun* run = nullptr;  // null: it has ended
    Status status = Status::kGood;
    uint16_t segments = 0;
    uint64_t bytes = 0;
    // Not yet reported since the end.
    bool has_status = true;
    bool has_details = false;
    std::vector<uint8_t> sense{};
  };
  Record* find(uint8_t id);
  void forget_reported(const Record& record);

  std::vector<Record> records_;  // in the order of their ends
};

}  // namespace mrpool::scsi
