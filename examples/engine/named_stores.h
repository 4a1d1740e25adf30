// Stores that a configuration names, so that places (namespaces, units) refer to them by name, and
// that are open while no place has them: what SPDK calls bdevs.
//
//   "stores": [{"name": "Malloc0", "storage": "ram:64MiB"},
//              {"name": "disk", "storage": "file:/srv/disk.img", "block_size": 512, "uuid": "..."}]
//
// Memory keeps its contents under its name, whatever place has it.
//
// Thread safety: values. Ownership: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/storage/storage.h"
#include "examples/storage/stores.h"
#include "examples/storage/uuid.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::engine {

struct NamedStore {
  std::string name;
  std::string storage;
  uint32_t block_size = storage::kDefaultBlockSize;  // after complete(): what it is opened with
  storage::Uuid uuid{};                              // all zeroes: follows from the store
  uint32_t line = 0;                                 // of the file; 0: there is none
};

// Reads the key "stores".
void read_stores(base::JsonObject& object, std::vector<NamedStore>& stores);
// Checks names and storage, without opening anything. Memory gets its name as an option.
absl::Status complete_stores(std::vector<NamedStore>& stores);
// Null: there is none of that name.
const NamedStore* find_store(const std::vector<NamedStore>& stores, std::string_view name);
// For open_stores().
storage::WantedStore wanted_store(const NamedStore& store);

}  // namespace mrpool::engine
