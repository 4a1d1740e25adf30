// A logical unit with its storage, shared by all threads, and a session's handle to it.
//
// Thread safety: Unit: shared objects: safe, because its parts are. UnitTable: immutable once it is
// served. UnitHandle: the session's thread. Ownership: shared; a removed unit lives until the last
// session has released it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/limiter.h"
#include "examples/iser/target/config.h"
#include "examples/iser/target/store.h"
#include "examples/protocol/scsi/logical_unit.h"
#include "examples/storage/identity.h"
#include "examples/storage/storage.h"
#include "examples/storage/uuid.h"

namespace mrpool::engine {
class IoAccount;
class StagingFlow;
class Throttle;
}  // namespace mrpool::engine

namespace mrpool::iser_target {

// Shared by the units that replaced one another.
struct UnitLine {};

struct Unit {
  Unit(std::shared_ptr<storage::Volume> storage, scsi::UnitFacts facts, scsi::SaveReservations save,
       std::shared_ptr<UnitLine> of_line, std::shared_ptr<engine::Limiter> limits)
      : volume(std::move(storage)),
        logical(std::move(facts), std::move(save)),
        line(std::move(of_line)),
        limiter(std::move(limits)) {}

  // True if one of the two replaced the other: active commands on either concern both.
  bool same_line(const Unit& other) const { return line == other.line; }

  const std::shared_ptr<storage::Volume> volume;
  scsi::LogicalUnit logical;
  const std::shared_ptr<UnitLine> line;
  // After a reload, the unit that serves the same store gets the same limiter.
  const std::shared_ptr<engine::Limiter> limiter;
};

// What an initiator knows about a LUN.
struct SeenUnit {
  // The state it has seen; the default if it has not looked since the last change.
  explicit SeenUnit(const Unit& unit);
  SeenUnit() = default;

  storage::Uuid uuid{};
  std::optional<storage::StoreIdentity> identity{};
  uint32_t block_size = 0;
  uint64_t blocks = 0;
};
using SeenUnits = std::map<uint16_t, SeenUnit>;  // by LUN

struct UnitOptions {
  std::string target;  // its name
  uint16_t portal_group_tag = 1;
  uint16_t relative_port = 1;
  uint16_t port_group = 1;           // of ALUA
  bool explicit_alua = true;         // initiators may set its state
  std::string state_dir;             // for reservations; empty: they are not saved
  bool apart = false;                // separate from another target's unit of the same names
  std::shared_ptr<UnitLine> line{};  // of the unit that it replaces, or a new one
  std::shared_ptr<engine::Limiter> limiter = std::make_shared<engine::Limiter>();  // likewise
};

// All names of the unit that serves a store. Missing names are derived from the first given one of
// UUID, serial and NAA, or else from the UUID derived from the store.
UnitNames names_of(const UnitNames& given, const storage::Uuid& derived);
bool any_given(const UnitNames& names);

// Makes a unit with the reservations that were saved for these names.
absl::StatusOr<std::shared_ptr<Unit>> make_unit(std::shared_ptr<storage::Volume> volume,
                                                const UnitNames& names, const UnitOptions& options);

// The units of a target. The table is replaced as a whole; sessions keep their last one.
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
  SeenUnit seen() const { return nexus.waits_to_be_seen() ? SeenUnit() : SeenUnit(*unit); }

  const std::shared_ptr<Unit> unit;
  std::shared_ptr<Store> store;               // null before the first command that needs it
  std::shared_ptr<engine::StagingFlow> flow;  // owned by the link, for data of commands
  std::shared_ptr<engine::Throttle> limit;    // null before a command met the unit's limits
  engine::IoAccount* account = nullptr;       // owned by the link, since the first command
  scsi::Nexus nexus;
  uint32_t users = 0;  // active commands that use it
};

}  // namespace mrpool::iser_target
