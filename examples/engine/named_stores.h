// Stores with a name in the configuration; SPDK calls them bdevs. Namespaces and logical units
// refer to them by name. They stay open while nothing refers to them.
//
//   "stores": [{"name": "Malloc0", "storage": "ram:64MiB"},
//              {"name": "disk", "storage": "file:/srv/disk.img", "block_size": 512, "uuid": "..."}]
//
// A store in memory keeps its contents under its name when another namespace or unit refers to it.
//
// Thread safety: values. Ownership: none.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/rate_limits.h"
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
  // 0: the daemon's default. After complete_stores(): the one it opens with.
  uint32_t block_size = 0;
  storage::Uuid uuid{};  // all zeroes: from the store
  RateLimits limits{};
  uint32_t line = 0;  // of the file; 0: not from a file
};

// Reads and writes the key "stores". write_stores() omits a block size that equals the daemon's
// default, `block_size`.
void read_stores(base::JsonObject& object, std::vector<NamedStore>& stores);
void write_stores(const std::vector<NamedStore>& stores, uint32_t block_size,
                  boost::json::object& to);
// Checks names and storage, without opening anything. Adds its name as an option to a store in
// memory. `block_size` is the daemon's default.
absl::Status complete_stores(std::vector<NamedStore>& stores, uint32_t block_size);
// Up to 64 printable characters without blanks, slashes, commas and quotes.
bool valid_store_name(std::string_view name);
// Null if no store has that name.
const NamedStore* find_store(const std::vector<NamedStore>& stores, std::string_view name);
// For open_stores().
storage::WantedStore wanted_store(const NamedStore& store);

}  // namespace mrpool::engine
