#include "examples/engine/store_methods.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <ratio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "examples/base/units.h"
#include "examples/engine/qos_methods.h"
#include "examples/storage/spec.h"

namespace mrpool::engine {

namespace json = boost::json;
using control::Given;
using control::Parameter;
using control::Reply;
using control::Result;

namespace {

constexpr uint64_t kMebibyte = 1 << 20;
// The options of an image's address, each with its parameter of bdev_rbd_create.
constexpr std::pair<const char*, const char*> kImageOptions[] = {
    {"conf", "conf"}, {"id", "user_id"}, {"namespace", "namespace_name"}, {"snap", "snap_name"}};
// "Malloc0", or the next free name.
std::string free_name(const std::vector<NamedStore>& stores, std::string_view prefix) {
  for (uint32_t i = 0;; ++i) {
    std::string name = absl::StrCat(std::string(prefix), i);
    if (find_store(stores, name) == nullptr) return name;
  }
}

absl::Status set_uuid(const Given& given, NamedStore& store) {
  const std::string text = given.text("uuid");
  if (text.empty()) return absl::OkStatus();
  const auto uuid = storage::parse_uuid(text);
  if (!uuid.ok()) return uuid.status();
  store.uuid = *uuid;
  return absl::OkStatus();
}

absl::Status no_store(const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat("there is no store \"", name, "\"; bdev_get_bdevs lists them"));
}

// Why a method for stores of another kind does not take this one, and what does. `size`: that it
// was to get.
absl::Status of_another_kind(const HeldStore& store, uint64_t size) {
  const auto spec = storage::parse_spec(store.volume->spec());
  const std::string scheme = spec.ok() ? spec->scheme : std::string();
  std::string why;
  if (scheme == "file") {
    const std::string shorter(absl::StripSuffix(base::exact_size(size), "iB"));
    why = absl::StrCat("is a file: grow it with `truncate -s ", shorter, " ", spec->target,
                       "`, then call bdev_aio_rescan");
  } else if (scheme == "rbd") {
    why = "is an image of Ceph: grow it with `rbd resize`, then call bdev_aio_rescan";
  } else if (scheme == "ram") {
    why = "is memory, whose size is fixed while it is served; create another store";
  } else {
    why = "has no name of its own; change its size in the file of --config, and reload";
  }
  return absl::NotFoundError(absl::StrCat(store.name, " ", why));
}

// The scheme of a store's text.
std::string scheme_of(const std::string& storage) { return storage.substr(0, storage.find(':')); }

// Parameters for the layout of a disk's blocks, which is fixed in this daemon.
std::vector<Parameter> plain_blocks() {
  const char* const plain = "blocks have no metadata here";
  const char* const no_hint = "hosts get no such hint";
  return {control::only("md_size", 0, plain),
          control::only("md_interleave", false, plain),
          control::only("dif_type", 0, plain),
          control::only("dif_is_head_of_md", false, plain),
          control::only("dif_pi_format", 0, plain),
          control::only("optimal_io_boundary", 0, "requests are not split"),
          control::only("physical_block_size", 0, "it is that of the blocks"),
          control::only("numa_id", -1, "memory is allocated where it is used first"),
          control::only("preferred_write_granularity", 0, no_hint),
          control::only("preferred_write_alignment", 0, no_hint),
          control::only("optimal_write_size", 0, no_hint),
          control::only("preferred_unmap_granularity", 0, no_hint),
          control::only("preferred_unmap_alignment", 0, no_hint)};
}

std::vector<Parameter> and_more(std::vector<Parameter> first, const std::vector<Parameter>& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

Parameter uuid_parameter() {
  return control::text("uuid", "of the store; default: derived from the store");
}
Parameter name_parameter() { return required(control::text("name", "the name of the store")); }

class StoreMethods {
 public:
  StoreMethods(Administration& administration, StoreHolder& holder)
      : changes_(administration.changes), methods_(administration.methods), holder_(holder) {}

  void add() {
    add_memory("bdev_malloc", "ram", "Malloc");
    add_memory("bdev_null", "null", "Null");
    add_files("bdev_aio");
    add_files("bdev_uring");
    add_images();
    add_resize();
    add_any();
    add_lists();
    add_limit_method(changes_, methods_, holder_);
  }

 private:
  using Make = std::function<absl::StatusOr<NamedStore>(const Given&,
                                                        const std::vector<NamedStore>& before)>;

  // Adds a method that creates a store and returns its name.
  void add_create(const std::string& name, const char* summary, std::vector<Parameter> parameters,
                  Make make) {
    methods_.add(
        {.name = name,
         .summary = summary,
         .parameters = std::move(parameters),
         .changes = true,
         .start = [this, make = std::move(make)](const Given& given, Reply reply) {
           const auto made = std::make_shared<std::string>();
           changes_.add(holder_.change_stores([make, given, made](std::vector<NamedStore>& all) {
             auto store = make(given, all);
             if (!store.ok()) return store.status();
             if (find_store(all, store->name) != nullptr) {
               return absl::AlreadyExistsError(absl::StrCat("there is a store \"", store->name,
                                                            "\" already; give another name"));
             }
             *made = store->name;
             all.push_back(*std::move(store));
             return absl::OkStatus();
           }),
                        [reply, made](const absl::Status& status) {
                          reply(status.ok() ? Result(json::value(*made)) : Result(status));
                        });
         }});
  }

  void add_delete(const std::string& name, std::vector<std::string> schemes) {
    methods_.add({.name = name,
                  .summary = "close a store that nothing uses",
                  .parameters = {name_parameter()},
                  .changes = true,
                  .start = [this, schemes = std::move(schemes)](const Given& given, Reply reply) {
                    const std::string store = given.text("name");
                    changes_.add(holder_.change_stores([=](std::vector<NamedStore>& all) {
                      const NamedStore* found = find_store(all, store);
                      if (found == nullptr) return no_store(store);
                      if (!right_kind(*found, schemes)) {
                        return absl::NotFoundError(
                            absl::StrCat("the store \"", store, "\" is of another kind, ",
                                         found->storage, "; mrpool_store_delete takes any kind"));
                      }
                      all.erase(all.begin() + (found - all.data()));
                      return absl::OkStatus();
                    }),
                                 answer_with(std::move(reply), true));
                  }});
  }
  static bool right_kind(const NamedStore& store, const std::vector<std::string>& schemes) {
    return schemes.empty() || std::ranges::find(schemes, scheme_of(store.storage)) != schemes.end();
  }

  void add_memory(const std::string& prefix, const char* scheme, const char* default_name) {
    add_create(
        prefix + "_create", "create a store in memory, or one that discards data",
        and_more(
            {control::text("name", "default: the next free one"),
             required(control::number("num_blocks", "how many blocks", 1)),
             required(control::number("block_size", "bytes of a block: 512 or 4096", 512, 4096)),
             uuid_parameter()},
            plain_blocks()),
        [=](const Given& given,
            const std::vector<NamedStore>& before) -> absl::StatusOr<NamedStore> {
          NamedStore store;
          store.block_size = uint32_t(given.number("block_size"));
          const uint64_t blocks = given.number("num_blocks");
          if (blocks > UINT64_MAX / store.block_size) {
            return absl::InvalidArgumentError(
                absl::StrCat("\"num_blocks\": ", blocks, " blocks are too many"));
          }
          store.storage = absl::StrCat(scheme, ":", blocks * store.block_size);
          store.name = given.has("name") ? given.text("name") : free_name(before, default_name);
          if (absl::Status status = set_uuid(given, store); !status.ok()) return status;
          return store;
        });
    add_delete(prefix + "_delete", {scheme});
  }

  void add_files(const std::string& prefix) {
    const bool aio = prefix == "bdev_aio";
    std::vector<Parameter> parameters = {
        name_parameter(), required(control::text("filename", "the path of a file or a device")),
        control::number("block_size", "bytes of a block: 512 or 4096", 512, 4096),
        uuid_parameter()};
    if (aio) {
      parameters.push_back(control::flag("readonly", "hosts may only read"));
      parameters.push_back(
          control::flag("fallocate", "no effect: space is given back where the file can do so"));
      parameters.push_back(control::only("nowait", false, "requests are asynchronous by io_uring"));
    }
    add_create(
        prefix + "_create", "serve a file or a block device, by io_uring", std::move(parameters),
        [this](const Given& given, const std::vector<NamedStore>&) -> absl::StatusOr<NamedStore> {
          NamedStore store;
          store.name = given.text("name");
          store.block_size = uint32_t(given.number("block_size", holder_.default_block_size()));
          store.storage = absl::StrCat("file:", storage::escape(given.text("filename")),
                                       given.flag("readonly") ? ",ro" : "");
          if (absl::Status status = set_uuid(given, store); !status.ok()) return status;
          return store;
        });
    add_delete(prefix + "_delete", {"file"});
    methods_.add({.name = prefix + "_rescan",
                  .summary = "read the size of a file or a device again and notify hosts",
                  .parameters = {name_parameter()},
                  .changes = true,
                  .start = [this](const Given& given, Reply reply) {
                    rescan(given.text("name"), std::move(reply));
                  }});
  }

  void add_images() {
    add_create(
        "bdev_rbd_create", "serve an image of a Ceph cluster",
        {control::text("name", "default: the next free one"),
         required(control::text("pool_name", "the pool of the image")),
         required(control::text("rbd_name", "the name of the image")),
         control::number("block_size", "bytes of a block: 512 or 4096", 512, 4096),
         control::text("user_id", "the user of the cluster; default: admin"),
         control::text("namespace_name", "the namespace of the image in its pool"),
         control::text("snap_name", "a snapshot of it, which hosts may only read"),
         control::text("conf", "the path of ceph.conf; default: where Ceph looks for it"),
         control::flag("read_only", "hosts may only read"), uuid_parameter(),
         control::only("config", json::object(),
                       "settings are in ceph.conf, whose path is \"conf\""),
         control::only("cluster_name", "", "clients of a cluster are shared by themselves")},
        [this](const Given& given,
               const std::vector<NamedStore>& before) -> absl::StatusOr<NamedStore> {
          storage::StoreSpec spec{
              .scheme = "rbd",
              .target = absl::StrCat(given.text("pool_name"), "/", given.text("rbd_name")),
              .options = {}};
          for (const auto& [option, parameter] : kImageOptions) {
            if (given.text(parameter).empty()) continue;
            spec.options.push_back(
                {.name = std::string(option), .value = given.text(parameter), .has_value = true});
          }
          if (given.flag("read_only")) spec.options.push_back({.name = "ro", .value = {}});
          NamedStore store;
          store.name = given.has("name") ? given.text("name") : free_name(before, "Ceph");
          store.block_size = uint32_t(given.number("block_size", holder_.default_block_size()));
          store.storage = storage::to_text(spec);
          if (absl::Status status = set_uuid(given, store); !status.ok()) return status;
          return store;
        });
    add_delete("bdev_rbd_delete", {"rbd"});
  }

  void rescan(const std::string& name, Reply reply) {
    const auto volume = std::make_shared<std::shared_ptr<storage::Volume>>();
    changes_.add({{Step::Where::kLoop,
                   [this, name, volume] {
                     for (const HeldStore& each : holder_.held_stores()) {
                       if (each.name == name) *volume = each.volume;
                     }
                     return *volume == nullptr ? no_store(name) : absl::OkStatus();
                   }},
                  {Step::Where::kAside,
                   [this, volume] {
                     const absl::Status status = (*volume)->refresh(0).status();
                     if (status.ok()) holder_.tell_sizes();
                     return status;
                   }}},
                 answer_with(std::move(reply), true));
  }

  void add_resize() {
    methods_.add(
        {.name = "bdev_null_resize",
         .summary = "change the size of a null store and notify hosts",
         .parameters = {name_parameter(),
                        required(control::number("new_size", "MiB", 1, UINT64_MAX / kMebibyte))},
         .changes = true,
         .start = [this](const Given& given, Reply reply) {
           const std::string name = given.text("name");
           const uint64_t bytes = given.number("new_size") * kMebibyte;
           changes_.add(holder_.change_stores([=, this](std::vector<NamedStore>& all) {
             const NamedStore* found = find_store(all, name);
             if (found == nullptr || scheme_of(found->storage) != "null") {
               return no_null_store(name, bytes);
             }
             const auto at = all.begin() + (found - all.data());
             auto spec = storage::parse_spec(at->storage);
             if (!spec.ok()) return spec.status();
             spec->target = absl::StrCat(bytes);
             at->storage = storage::to_text(*spec);
             return absl::OkStatus();
           }),
                        answer_with(std::move(reply), true));
         }});
  }

  absl::Status no_null_store(const std::string& name, uint64_t size) {
    for (const HeldStore& each : holder_.held_stores()) {
      if (each.name == name) return of_another_kind(each, size);
    }
    return no_store(name);
  }

  void add_any() {
    add_create(
        "mrpool_store_create", "open a store of any kind, in the notation of --help",
        {name_parameter(), required(control::text("storage", "as file:/srv/disk.img,direct")),
         control::number("block_size", "bytes of a block: 512 or 4096", 512, 4096),
         uuid_parameter()},
        [this](const Given& given, const std::vector<NamedStore>&) -> absl::StatusOr<NamedStore> {
          NamedStore store;
          store.name = given.text("name");
          store.storage = given.text("storage");
          store.block_size = uint32_t(given.number("block_size", holder_.default_block_size()));
          if (absl::Status status = set_uuid(given, store); !status.ok()) return status;
          return store;
        });
    add_delete("mrpool_store_delete", {});
  }

  void add_lists() {
    methods_.add({.name = "bdev_get_bdevs",
                  .summary = "the stores, with or without a name",
                  .parameters = {control::text("name", "this one only"),
                                 control::number("timeout",
                                                 "no effect: stores do not appear by themselves")},
                  .run = [this](const Given& given) { return list(given); }});
    methods_.add({.name = "bdev_get_iostat",
                  .summary = "reads and writes of each store",
                  .parameters = {control::texts("names", "these only"),
                                 control::only("per_channel", false, "counts are of all threads"),
                                 control::choice("reset_mode", "counts are not reset", {"none"})},
                  .run = [this](const Given& given) { return counts(given); }});
  }

  static json::object describe_image(const storage::StoreSpec& spec) {
    const size_t slash = spec.target.find('/');
    json::object image;
    image["pool_name"] = spec.target.substr(0, slash);
    image["rbd_name"] = spec.target.substr(slash + 1);
    for (const auto& [option, parameter] : kImageOptions) {
      const storage::StoreSpec::Option* given = spec.find(option);
      if (given != nullptr) image[parameter] = given->value;
    }
    return image;
  }

  static json::object describe(const HeldStore& store) {
    const storage::Geometry geometry = store.volume->geometry();
    const auto spec = storage::parse_spec(store.volume->spec());
    const std::string scheme = spec.ok() ? spec->scheme : "";
    json::object one;
    const std::string uuid = storage::format_uuid(store.uuid);
    one["name"] = store.name;
    one["aliases"] = json::array{json::string(uuid)};
    one["product_name"] = scheme == "ram"    ? "Malloc disk"
                          : scheme == "null" ? "Null disk"
                          : scheme == "rbd"  ? "Ceph Rbd Disk"
                                             : "AIO disk";
    one["block_size"] = geometry.block_size;
    one["num_blocks"] = geometry.blocks;
    one["uuid"] = uuid;
    one["assigned_rate_limits"] = show_limits(store.limits);
    one["claimed"] = store.used;
    if (store.used) one["claim_type"] = "exclusive_write";
    one["zoned"] = false;
    one["supported_io_types"] = {{"read", true},
                                 {"write", !geometry.read_only},
                                 {"unmap", geometry.deallocate},
                                 {"flush", true},
                                 {"reset", true},
                                 {"write_zeroes", !geometry.read_only}};
    json::object own;
    own["mrpool"] = {{"storage", store.volume->spec()},
                     {"volatile_cache", geometry.volatile_cache}};
    if (scheme == "file") {
      own["aio"] = {{"filename", spec->target},
                    {"block_size_override", true},
                    {"readonly", geometry.read_only}};
    }
    if (scheme == "rbd") own["rbd"] = describe_image(*spec);
    one["driver_specific"] = std::move(own);
    return one;
  }

  Result list(const Given& given) {
    const std::string wanted = given.text("name");
    json::array all;
    for (const HeldStore& each : holder_.held_stores()) {
      const bool named = each.name == wanted || storage::format_uuid(each.uuid) == wanted;
      if (wanted.empty() || named) all.push_back(describe(each));
    }
    if (all.empty() && !wanted.empty()) return no_store(wanted);
    return json::value(std::move(all));
  }

  Result counts(const Given& given) {
    std::vector<std::string> missing = given.texts("names");
    const std::vector<std::string> wanted = missing;
    json::array all;
    for (const HeldStore& each : holder_.held_stores()) {
      std::erase(missing, each.name);
      if (!wanted.empty() && std::ranges::find(wanted, each.name) == wanted.end()) continue;
      json::object one;
      one["name"] = each.name;
      one["bytes_read"] = each.io.reads.bytes;
      one["num_read_ops"] = each.io.reads.completed;
      one["bytes_written"] = each.io.writes.bytes;
      one["num_write_ops"] = each.io.writes.completed;
      one["read_latency_ticks"] = each.io.reads.ns;
      one["write_latency_ticks"] = each.io.writes.ns;
      all.push_back(std::move(one));
    }
    if (!missing.empty()) return no_store(missing.front());
    json::object answer;
    answer["tick_rate"] = std::nano::den;
    answer["ticks"] =
        std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
    answer["bdevs"] = std::move(all);
    return json::value(std::move(answer));
  }

  Changes& changes_;
  control::Methods& methods_;
  StoreHolder& holder_;
};

}  // namespace

Changes::Done answer_with(Reply reply, json::value result) {
  return [reply = std::move(reply), result = std::move(result)](const absl::Status& status) {
    reply(status.ok() ? Result(result) : Result(status));
  };
}

std::shared_ptr<void> add_store_methods(Administration& administration, StoreHolder& holder) {
  const auto all = std::make_shared<StoreMethods>(administration, holder);
  all->add();
  return all;
}

}  // namespace mrpool::engine
