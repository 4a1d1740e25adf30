// A kind of storage: what "SCHEME:TARGET[,OPTION...]" opens. backends.cc holds the one table of
// them; storage::open, the help texts and the errors are made from it. To add one: a file with its
// Backend, and a line in that table.
//
// Thread safety: constants.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

// An address taken apart. Only options that the backend has are in it.
struct Spec {
  std::string text;                  // as it was written
  std::string target;                // from the colon to the first comma
  std::vector<std::string> options;  // "direct", "size=10GiB"; not "bs="
  uint32_t block_size = 0;           // one of kBlockSizes

  bool has(std::string_view flag) const;
  // What follows "key=".
  std::optional<std::string_view> value(std::string_view key) const;
};

struct Backend {
  std::string_view scheme;                    // "file"
  std::string_view target;                    // "PATH", for the help text
  std::string_view example;                   // "file:/srv/disk.img"
  std::string_view summary;                   // one line for the help text
  std::span<const std::string_view> options;  // a flag, or "key=VALUE" for one that has a value
  absl::Status (*check)(const Spec& spec);    // what can be said without opening anything
  absl::StatusOr<std::shared_ptr<Volume>> (*open)(const Spec& spec);
};

std::span<const Backend* const> backends();

}  // namespace mrpool::storage
