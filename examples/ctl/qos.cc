// The limits of stores, hosts and initiators, for both daemons.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

// The options of a command that sets limits, and what they are called in a call.
struct Words {
  std::string place;  // a store, a subsystem or a target
  std::string host;
  std::optional<uint64_t> iops, mbytes, read_mbytes, write_mbytes;
  std::optional<uint32_t> burst;

  absl::StatusOr<json::object> limits() const {
    json::object to;
    if (iops) to["rw_ios_per_sec"] = *iops;
    if (mbytes) to["rw_mbytes_per_sec"] = *mbytes;
    if (read_mbytes) to["r_mbytes_per_sec"] = *read_mbytes;
    if (write_mbytes) to["w_mbytes_per_sec"] = *write_mbytes;
    if (burst) to["qos_burst_ms"] = *burst;
    if (!to.empty()) return to;
    return absl::InvalidArgumentError(
        "no limit is given; write --iops 20000 or --mbytes 100, or 0 to remove one");
  }
};

std::string limit(const json::value& of, std::string_view key) {
  const uint64_t value = number(of, key);
  return value == 0 ? "-" : absl::StrCat(value);
}

void add_row(const std::string& of, const std::string& at, const json::value& limits,
             Table& table) {
  table.row({of, at, limit(limits, "rw_ios_per_sec"), limit(limits, "rw_mbytes_per_sec"),
             limit(limits, "r_mbytes_per_sec"), limit(limits, "w_mbytes_per_sec"),
             limit(limits, "qos_burst_ms")});
}

// The hosts or initiators with limits, of each subsystem or target.
absl::Status add_hosts(Conversation& conversation, json::object& all, Table& table) {
  const auto methods = conversation.ask("rpc_get_methods");
  if (!methods.ok()) return methods.status();
  const json::array& names = list(*methods, "");
  const bool nvme = std::ranges::find(names, json::value("nvmf_get_subsystems")) != names.end();
  const auto answer = conversation.ask(nvme ? "nvmf_get_subsystems" : "iscsi_get_target_nodes");
  if (!answer.ok()) return answer.status();
  json::array hosts;
  for (const json::value& place : list(*answer, "")) {
    const std::string at = shown(place, nvme ? "nqn" : "name");
    for (const json::value& each : list(place, nvme ? "host_limits" : "initiator_limits")) {
      add_row(shown(each, nvme ? "nqn" : "name"), at, each, table);
      json::object one = each.as_object();
      one[nvme ? "subsystem" : "target"] = at;
      hosts.push_back(std::move(one));
    }
  }
  all[nvme ? "hosts" : "initiators"] = std::move(hosts);
  return absl::OkStatus();
}

absl::Status print_limits(Conversation& conversation) {
  const auto answer = conversation.ask("bdev_get_bdevs");
  if (!answer.ok()) return answer.status();
  Table table({"STORE OR HOST", "AT", ">IOPS", ">MiB/s", ">READ", ">WRITE", ">BURST ms"});
  json::object all;
  json::array stores;
  for (const json::value& each : list(*answer, "")) {
    json::object one = each.at("assigned_rate_limits").as_object();
    add_row(shown(each, "name"), "-", one, table);
    one["name"] = each.at("name");
    stores.push_back(std::move(one));
  }
  all["stores"] = std::move(stores);
  if (absl::Status status = add_hosts(conversation, all, table); !status.ok()) return status;
  return conversation.print(all, table.text());
}

// A command with the options for limits.
base::CommandLine& add_set(Commands& commands, const std::shared_ptr<Words>& words,
                           const char* name, const char* summary, std::string_view kind,
                           Commands::Run run) {
  base::CommandLine& command = commands.add(name, summary, kind, std::move(run));
  command.count("iops", "commands a second; 0: no limit", words->iops);
  command.count("mbytes", "MiB a second, read and written; 0: no limit", words->mbytes);
  command.count("read-mbytes", "MiB read a second; 0: no limit", words->read_mbytes);
  command.count("write-mbytes", "MiB written a second; 0: no limit", words->write_mbytes);
  command.count("burst", "milliseconds of the limits that may come at once", words->burst,
                {.least = 1});
  return command;
}

void add_host_command(Commands& commands, const char* name, const char* who, const char* kind,
                      const char* method) {
  const auto words = std::make_shared<Words>();
  const bool nvme = std::string_view(kind) == "nvmf";
  base::CommandLine& set = add_set(
      commands, words, name,
      nvme ? "limit what a host does at a subsystem" : "limit what an initiator does at a target",
      kind, [words, who, method, nvme](Conversation& conversation) -> absl::Status {
        if (words->host.empty()) {
          return absl::InvalidArgumentError(absl::StrCat(
              "--", who, " is missing; a name, or * for each without limits of its own"));
        }
        auto parameters = words->limits();
        if (!parameters.ok()) return parameters.status();
        (*parameters)[nvme ? "nqn" : "name"] = words->place;
        (*parameters)[who] = words->host;
        return conversation.change(method, *parameters,
                                   absl::StrCat("limited ", words->host, " at ", words->place));
      });
  set.required(nvme ? "--host NQN" : "--initiator IQN");
  set.text(who, "TEXT", "its name, or * for each without limits of its own", words->host);
  set.operand(nvme ? "NQN" : "IQN", nvme ? "the subsystem" : "the target",
              nvme ? "nqn.2026-11.org.example:disk" : "iqn.2026-11.org.example:disk", words->place);
}

}  // namespace

void add_limits(Commands& commands) {
  commands.add("qos-list", "show the limits of stores and hosts", "", print_limits);
  const auto words = std::make_shared<Words>();
  base::CommandLine& set = add_set(commands, words, "qos-set", "limit the rate of a store", "",
                                   [words](Conversation& conversation) -> absl::Status {
                                     auto parameters = words->limits();
                                     if (!parameters.ok()) return parameters.status();
                                     (*parameters)["name"] = words->place;
                                     return conversation.change("bdev_set_qos_limit", *parameters,
                                                                "limited " + words->place);
                                   });
  set.operand("NAME", "the store", "disk", words->place);
  add_host_command(commands, "qos-host", "host", "nvmf",
                   "mrpool_nvmf_subsystem_host_set_qos_limit");
  add_host_command(commands, "qos-initiator", "initiator", "iser",
                   "mrpool_iscsi_target_node_initiator_set_qos_limit");
}

}  // namespace mrpool::ctl
