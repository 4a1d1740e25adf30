// The stores of a configuration, from one to the next. A store that is served already is recognised
// by its identity and stays open, also at another place.
//
//  - Files, devices and named memory are found by their identity. With the same options the volume
//    stays the same; with others a new one takes its place (OpenOptions::replaces).
//  - Memory without a name has nothing but its place: it belongs to its parent (a subsystem, a
//    target) and is found there by its text; by its number where that was written, then in order.
//    When fewer are wanted than there are, which ones go cannot be told, and that is refused. So is
//    another size of RAM in its place, which would lose its data.
//  - Whatever else is served at the path of an open file is another store.
//
// Thread safety: one call at a time. It blocks: it looks at files. Ownership: volumes are shared.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/storage/growth.h"
#include "examples/storage/state_directory.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

using OpenVolume = std::function<absl::StatusOr<std::shared_ptr<Volume>>(
    std::string_view spec, const OpenOptions& options)>;

struct WantedStore {
  std::string spec;
  uint32_t block_size = kDefaultBlockSize;
  std::string parent;    // "nqn.2024-01.org.example:disk1"
  std::string place;     // "namespace 3"
  bool given = false;    // the number of the place was written, not counted
  bool named = false;    // it was given a UUID
  std::string apart{};   // where no two may have the same UUID: a target; empty: everywhere
  std::string origin{};  // "line 7: "; empty: no file
};

struct ServedStore {
  std::shared_ptr<Volume> volume;
  std::string parent;
  std::string place;
};

// A volume for each of `wanted`, in order. The sizes of those that stay are looked at again. Files
// that are made or made larger are noted in `growth`, which the caller applies and keeps when
// nothing else can fail. Nothing of `served` has changed when it fails. The error begins with the
// origin and the place. FailedPrecondition: a store is wanted twice, and not only to be read; or it
// is not served any more, but its last commands do not end (OpenOptions::others_leave).
absl::StatusOr<std::vector<std::shared_ptr<Volume>>> open_stores(
    std::span<const WantedStore> wanted, std::span<const ServedStore> served,
    const OpenVolume& open_volume, Growth& growth);

// Gives files their sizes and saves the UUIDs of `state` (null: none): all of it, or nothing when
// it fails. The last step before the stores are served.
absl::Status keep(Growth& growth, StateDirectory* state);

// The errors that open_stores() would return for `wanted` with nothing served, as far as they can
// be found without opening or making anything.
absl::Status check_stores(std::span<const WantedStore> wanted);

// The files that opening `wanted` would make, as "/srv/disk.img with 256MiB".
std::vector<std::string> files_to_make(std::span<const WantedStore> wanted);

// FailedPrecondition: a file that opening would make is gone: `state` (null: none) knows a store
// there. Its file system may not be mounted.
absl::Status check_not_gone(std::span<const WantedStore> wanted, const StateDirectory* state);

// The warning for a daemon whose memory stores may take more than the machine's `physical` bytes;
// empty when they fit.
std::optional<std::string> memory_warning(std::span<const WantedStore> wanted, uint64_t physical);
// Of the machine.
uint64_t physical_memory();

}  // namespace mrpool::storage
