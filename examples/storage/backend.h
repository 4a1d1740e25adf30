// A kind of storage: what "SCHEME:TARGET[,OPTION...]" opens. backends.cc holds the one table of
// them; storage::open, the help texts and the errors are made from it. To add one: a file with its
// Backend, and a line in that table.
//
// Thread safety: constants.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/storage/spec.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

// An address taken apart. Only options that the backend has are in it, besides "bs".
struct Spec : StoreSpec {
  std::string text;         // as it was written
  uint32_t block_size = 0;  // one of kBlockSizes
  std::shared_ptr<Volume> replaces{};
  bool others_leave = false;
  Growth* growth = nullptr;
};

struct Backend {
  std::string_view scheme;                    // "file"
  std::string_view target;                    // "PATH", for the help text
  std::string_view example;                   // "file:/srv/disk.img"
  std::string_view summary;                   // one line for the help text
  std::span<const std::string_view> options;  // a flag, or "key=VALUE" for one that has a value
  absl::Status (*check)(const Spec& spec);    // what the text alone says
  // The result that opening the place would have, found without opening or making anything.
  absl::Status (*check_there)(const Spec& spec);
  uint64_t (*memory)(const Spec& spec);  // bytes of this process that it may take
  // Of a remote store: the options that are part of its address, as the target is. Empty: local.
  std::span<const std::string_view> way;
  absl::StatusOr<std::shared_ptr<Volume>> (*open)(const Spec& spec);
};

std::span<const Backend* const> backends();

// The address of a remote store, without its other options; empty: the store is local. A remote
// store has no identity until it is open.
std::string address_of(const StoreSpec& spec);

// OK when so many bytes, more than none, are whole blocks; else what to write instead.
absl::Status whole_blocks(uint64_t bytes, uint32_t block_size);

}  // namespace mrpool::storage
