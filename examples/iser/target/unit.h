// A logical unit with its storage, as all threads share it, and as one session reaches it.
//
// Thread safety: Unit: shared objects: safe, by its parts. UnitTable: immutable once it is served.
// UnitHandle: the session's thread. Ownership: shared; a unit that is no longer served lives until
// the last session has let go of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/iser/target/range_gate.h"
#include "examples/iser/target/store.h"
#include "examples/protocol/scsi/logical_unit.h"
#include "examples/storage/storage.h"

namespace mrpool::iser_target {

struct Unit {
  Unit(std::shared_ptr<storage::Volume> storage, scsi::UnitFacts facts, scsi::SaveReservations save,
       uint32_t workers)
      : volume(std::move(storage)), logical(std::move(facts), std::move(save)), gate(workers) {}

  const std::shared_ptr<storage::Volume> volume;
  scsi::LogicalUnit logical;
  RangeGate gate;
};

struct UnitOptions {
  std::string target;  // its name
  uint16_t portal_group_tag = 1;
  uint16_t lun = 0;
  std::string state_dir;  // where reservations are kept; empty: nowhere
  uint32_t workers = 1;
};

// With the reservations that were kept.
absl::StatusOr<std::shared_ptr<Unit>> make_unit(std::shared_ptr<storage::Volume> volume,
                                                const UnitOptions& options);

// The units of a target. It is replaced whole; sessions keep the one they last saw.
struct UnitTable {
  uint64_t version = 0;
  std::map<uint16_t, std::shared_ptr<Unit>> units{};
  std::vector<uint16_t> luns{};  // the same, for REPORT LUNS
};

struct UnitHandle {
  UnitHandle(std::shared_ptr<Unit> of, const std::string& port) : unit(std::move(of)), nexus(port) {
    unit->logical.attach(nexus);
  }
  ~UnitHandle() { unit->logical.detach(nexus); }
  UnitHandle(const UnitHandle&) = delete;
  UnitHandle& operator=(const UnitHandle&) = delete;

  scsi::LogicalUnit& logical() const { return unit->logical; }
  const scsi::UnitFacts& facts() const { return unit->logical.facts(); }

  const std::shared_ptr<Unit> unit;
  std::shared_ptr<Store> store;  // null before the first command that needs it
  scsi::Nexus nexus;
  uint32_t users = 0;  // commands under way that name it
};

}  // namespace mrpool::iser_target
