#include "examples/engine/named_stores.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_object.h"
#include "examples/storage/spec.h"

namespace mrpool::engine {
namespace {

constexpr size_t kMaxName = 64;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// Stores in memory are identified by their names.
absl::Status name_memory(NamedStore& store) {
  absl::StatusOr<storage::StoreSpec> spec = storage::parse_spec(store.storage);
  if (!spec.ok()) return spec.status();
  if (spec->scheme != "ram" && spec->scheme != "null") return absl::OkStatus();
  if (spec->find("name") == nullptr) {
    spec->options.push_back({.name = "name", .value = store.name, .has_value = true});
    store.storage = storage::to_text(*spec);
  }
  return absl::OkStatus();
}

absl::Status complete_store(NamedStore& store, uint32_t block_size) {
  if (!valid_store_name(store.name)) {
    return bad("\"", store.name, "\" is not a name for a store; use up to ", kMaxName,
               " printable characters without blanks, slashes, commas and quotes, as Malloc0");
  }
  if (store.storage.empty()) {
    return bad("store ", store.name, ": \"storage\" is missing; write ", storage::examples());
  }
  if (store.block_size == 0) store.block_size = block_size;
  if (!storage::valid_block_size(store.block_size)) {
    return bad("store ", store.name, ": block_size ", store.block_size, "; use ",
               storage::kBlockSizes[0], " or ", storage::kBlockSizes[1]);
  }
  absl::Status status = name_memory(store);
  if (status.ok()) {
    store.block_size = storage::block_size_of(store.storage, store.block_size);
    status = storage::check(store.storage, {.block_size = store.block_size});
  }
  if (!status.ok()) return bad("store ", store.name, ": ", status.message());
  return absl::OkStatus();
}

}  // namespace

bool valid_store_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, [](char c) {
    return c > 0x20 && c < 0x7f && c != '/' && c != ',' && c != '"';
  });
}

void read_stores(base::JsonObject& object, std::vector<NamedStore>& stores) {
  object.objects("stores", [&](base::JsonObject& each) {
    NamedStore& store = stores.emplace_back();
    store.line = each.line();
    std::string uuid;
    each.text("name", store.name);
    each.text("storage", store.storage);
    each.number("block_size", store.block_size);
    each.text("uuid", uuid);
    read_limits(each, store.limits);
    if (each.has("block_size") &&
        storage::block_size_of(store.storage, store.block_size) != store.block_size) {
      each.refuse("block_size", absl::StrCat(store.block_size, " contradicts ", store.storage,
                                             "; leave one of them out"));
    }
    if (uuid.empty()) return;
    const auto parsed = storage::parse_uuid(uuid);
    if (!parsed.ok()) return each.refuse("uuid", std::string(parsed.status().message()));
    store.uuid = *parsed;
  });
}

void write_stores(const std::vector<NamedStore>& stores, uint32_t block_size,
                  boost::json::object& to) {
  if (stores.empty()) return;
  boost::json::array all;
  for (const NamedStore& store : stores) {
    boost::json::object one{{"name", store.name}, {"storage", store.storage}};
    if (store.block_size != 0 && store.block_size != block_size) {
      one["block_size"] = store.block_size;
    }
    if (store.uuid != storage::Uuid{}) one["uuid"] = storage::format_uuid(store.uuid);
    write_limits(store.limits, one);
    all.push_back(std::move(one));
  }
  to["stores"] = std::move(all);
}

absl::Status complete_stores(std::vector<NamedStore>& stores, uint32_t block_size) {
  std::set<std::string> names;
  for (NamedStore& store : stores) {
    if (absl::Status status = complete_store(store, block_size); !status.ok()) {
      return bad(base::at_line(store.line), status.message());
    }
    if (!names.insert(store.name).second) {
      return bad(base::at_line(store.line), "store \"", store.name, "\" is given twice");
    }
  }
  return absl::OkStatus();
}

const NamedStore* find_store(const std::vector<NamedStore>& stores, std::string_view name) {
  const auto at = std::ranges::find(stores, name, &NamedStore::name);
  return at == stores.end() ? nullptr : &*at;
}

storage::WantedStore wanted_store(const NamedStore& store) {
  return {.spec = store.storage,
          .block_size = store.block_size,
          .parent = "store",
          .place = store.name,
          .given = true,
          .named = store.uuid != storage::Uuid{},
          .origin = base::at_line(store.line)};
}

}  // namespace mrpool::engine
