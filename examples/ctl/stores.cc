// The commands for stores, for both daemons.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "examples/base/units.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

struct Words {
  std::string name;
  std::string storage;
  std::string uuid;
  uint32_t block_size = 0;
  uint64_t size = 0;  // 0: not given
};

absl::Status print_stores(Conversation& conversation) {
  const auto answer = conversation.ask("bdev_get_bdevs");
  if (!answer.ok()) return answer.status();
  Table table({"STORE", "KIND", ">SIZE", ">BLOCK", "USED", "UUID"});
  for (const json::value& each : list(*answer, "")) {
    const uint64_t block = number(each, "block_size");
    table.row({shown(each, "name"), shown(each, "product_name"),
               base::format_size(block * number(each, "num_blocks")), absl::StrCat(block),
               shown(each, "claimed"), shown(each, "uuid")});
  }
  return conversation.print(*answer, table.text());
}

absl::Status print_statistics(Conversation& conversation) {
  const auto answer = conversation.ask("bdev_get_iostat");
  if (!answer.ok()) return answer.status();
  Table table({"STORE", ">READS", ">READ", ">WRITES", ">WRITTEN"});
  for (const json::value& each : list(*answer, "bdevs")) {
    table.row({shown(each, "name"), shown(each, "num_read_ops"),
               base::format_size(number(each, "bytes_read")), shown(each, "num_write_ops"),
               base::format_size(number(each, "bytes_written"))});
  }
  return conversation.print(*answer, table.text());
}

}  // namespace

absl::Status resize_store(Conversation& conversation, const std::string& name, uint64_t size) {
  if (size == 0) {
    return conversation.change("bdev_aio_rescan", {{"name", name}},
                               absl::StrCat("read the size of ", name, " again"));
  }
  constexpr uint64_t kMebibyte = 1 << 20;
  if (size % kMebibyte != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--size: ", size, " is not a multiple of 1MiB; write ",
                     base::exact_size((size / kMebibyte + 1) * kMebibyte)));
  }
  const absl::Status status =
      conversation.change("bdev_null_resize", {{"name", name}, {"new_size", size / kMebibyte}},
                          absl::StrCat(name, " has ", base::exact_size(size)));
  return absl::Status(
      status.code(),
      absl::StrReplaceAll(status.message(),
                          {{"call bdev_aio_rescan",
                            absl::StrCat("`mrpool-ctl store resize ", name, "` without --size")}}));
}

void add_stores(Commands& commands) {
  const auto words = std::make_shared<Words>();
  commands.add("store-list", "list the stores", "", print_stores);
  base::CommandLine& create = commands.add(
      "store-create", "open a store under a name", "",
      [words](Conversation& conversation) -> absl::Status {
        if (words->storage.empty()) {
          return absl::InvalidArgumentError(
              "--storage is missing; for example --storage file:/srv/disk.img,size=1GiB");
        }
        json::object parameters{{"name", words->name}, {"storage", words->storage}};
        if (words->block_size != 0) parameters["block_size"] = words->block_size;
        if (!words->uuid.empty()) parameters["uuid"] = words->uuid;
        return conversation.change("mrpool_store_create", parameters, "created " + words->name);
      });
  create.required("--storage STORAGE");
  create.text("storage", "TEXT", "ram:SIZE, null:SIZE or file:PATH, with options", words->storage);
  create.count("block-size", "bytes of a block: 512 or 4096", words->block_size);
  create.text("uuid", "TEXT", "its UUID (default: derived from the store)", words->uuid);
  base::CommandLine& remove =
      commands.add("store-delete", "close a store that nothing uses; a file stays", "",
                   [words](Conversation& conversation) {
                     return conversation.change("mrpool_store_delete", {{"name", words->name}},
                                                "deleted " + words->name);
                   });
  base::CommandLine& grow =
      commands.add("store-resize", "change the size of a null store, or read a file's size again",
                   "", [words](Conversation& conversation) {
                     return resize_store(conversation, words->name, words->size);
                   });
  grow.size("size", kSizeHelp, words->size);
  for (base::CommandLine* each : {&create, &remove, &grow}) {
    each->operand("NAME", "the store", "disk", words->name);
  }
  commands.add("stats", "show reads and writes of each store", "", print_statistics);
}

}  // namespace mrpool::ctl
