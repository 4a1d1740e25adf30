// A daemon's state directory: its owner's lock, and the UUIDs that stores were given there, so that
// hosts know a store by the same one whatever becomes of what it was derived from.
//
// A store is found again by its identity. One whose identity is a device number that may change is
// found by its path, where the file there has the same inode and time of birth. When another store
// is found at a known path it gets a UUID of its own, and the log has both: hosts must
// not mistake it for the old one. An administrator who knows that it is a copy gives it the old
// UUID in the configuration.
//
// The file DIR/stores has a line for each store: UUID, identity, what lasts of it, path.
//
// Thread safety: one call at a time. It blocks. Ownership: owns the lock.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/storage.h"
#include "examples/storage/uuid.h"

namespace mrpool::storage {

class StateDirectory {
 public:
  // Stores that are remembered; the one that was seen first is forgotten for the next.
  static constexpr size_t kMaxStores = 65536;

  // Of --state-dir; an empty path is none, and OK. InvalidArgument: the directory is missing, or
  // takes no files; DataLoss: its contents are unreadable.
  static absl::Status check(const std::string& path);
  // `path` is made this process's. InvalidArgument: it is not a directory; FailedPrecondition:
  // another process has it; DataLoss: its contents are unreadable.
  static absl::StatusOr<std::unique_ptr<StateDirectory>> open(const std::string& path);

  // A store that needs a UUID; `path`: what it was opened by, empty for memory.
  struct Store {
    StoreIdentity identity;
    std::string path;
  };
  // The UUID of the store that was served from the path last; nothing: none was.
  std::optional<Uuid> known_at(const std::string& path) const;
  // The same of the directory `path`, which no process needs to have.
  static absl::StatusOr<std::unique_ptr<const StateDirectory>> look(const std::string& path);

  // Of each, in order. What is new is remembered by keep() only.
  std::vector<Uuid> uuids_of(std::span<const Store> stores);
  // The UUIDs that the last uuids_of() returned are on disk when this returns.
  absl::Status keep();

 private:
  struct Record {
    Uuid uuid{};
    std::string identity;
    std::string lasting;  // empty: the identity is stable
    std::string place;    // escaped; empty: somewhere else by now
    bool operator==(const Record&) const = default;
  };

  StateDirectory(const std::string& path, Descriptor lock);
  absl::Status read();
  static bool parse(std::string_view line, Record& record);
  absl::Status write(const std::vector<Record>& records);
  Uuid look_up(const Store& store);
  Record& add(const StoreIdentity& identity);

  const std::string file_;
  const Descriptor lock_;
  std::vector<Record> records_;
  std::set<Uuid> seen_;  // stores that this process has served
  // The result of the last uuids_of(), which keep() saves.
  struct Next {
    std::vector<Record> records;
    std::set<Uuid> seen;
    std::vector<std::string> reports;
  };
  std::optional<Next> next_;
};

// The UUIDs of stores that were given none, by a state directory where there is one, else derived.
// A store that is null has one already; its place in the result is all zeroes.
std::vector<Uuid> derived_uuids(StateDirectory* state,
                                std::span<const std::shared_ptr<Volume>> stores);

}  // namespace mrpool::storage
