// Subsystems, namespaces, hosts and listeners of mrpool-nvmf-target.
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>
#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"
#include "mrpool/device.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "nvmf";
constexpr const char* kNqn = "nqn.2026-11.org.example:disk";

// The values of the options of these commands.
struct Words {
  std::string nqn;
  std::string serial;
  std::string model;
  std::string store;
  std::string uuid;
  std::string host;
  std::string address;
  bool any = false;
  bool hidden = false;
  uint32_t nsid = 0;
  uint32_t group = 0;       // 0: not given
  uint32_t min_cntlid = 0;  // likewise
  uint32_t max_cntlid = 0;
  uint64_t size = 0;  // 0: not given
};

absl::Status missing(const char* what) { return absl::InvalidArgumentError(what); }

// Adds two commands, of which the second reverts the first; `run` gets true for the first.
struct Named {
  const char* name;
  const char* summary;
};
std::array<base::CommandLine*, 2> add_pair(
    Commands& commands, const Named& does, const Named& undoes,
    const std::function<absl::Status(Conversation&, bool does)>& run) {
  const auto add = [&](const Named& one, bool first) {
    return &commands.add(one.name, one.summary, kKind, [run, first](Conversation& conversation) {
      return run(conversation, first);
    });
  };
  return {add(does, true), add(undoes, false)};
}

// The subsystem `nqn`, or all if it is empty. NotFound: it does not exist.
absl::StatusOr<json::array> subsystems(Conversation& conversation, const std::string& nqn = {}) {
  const auto answer = conversation.ask("nvmf_get_subsystems");
  if (!answer.ok()) return answer.status();
  json::array found;
  for (const json::value& each : list(*answer, "")) {
    if (shown(each, "subtype") == "Discovery" && nqn.empty()) continue;
    if (nqn.empty() || shown(each, "nqn") == nqn) found.push_back(each);
  }
  if (found.empty() && !nqn.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no subsystem ", nqn, "; subsystem list shows them"));
  }
  return found;
}

std::string listed_hosts(const json::value& of) {
  std::string text;
  for (const json::value& each : list(of, "hosts")) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", shown(each, "nqn"));
  }
  return text.empty() ? "none" : text;
}

std::string hosts_of(const json::value& subsystem) {
  return shown(subsystem, "allow_any_host") == "yes" ? "any" : listed_hosts(subsystem);
}

absl::Status print_subsystems(Conversation& conversation) {
  const auto all = subsystems(conversation);
  if (!all.ok()) return all.status();
  Table table({"NQN", "SERIAL", ">NAMESPACES", ">LISTENERS", "HOSTS"});
  for (const json::value& each : *all) {
    table.row({shown(each, "nqn"), shown(each, "serial_number"),
               absl::StrCat(list(each, "namespaces").size()),
               absl::StrCat(list(each, "listen_addresses").size()), hosts_of(each)});
  }
  return conversation.print(*all, table.text());
}

}  // namespace

void add_subsystems(Commands& commands) {
  const auto words = std::make_shared<Words>();
  commands.add("subsystem-list", "list the subsystems", kKind, print_subsystems);
  base::CommandLine& create = commands.add(
      "subsystem-create", "create a subsystem, which has no namespace yet", kKind,
      [words](Conversation& conversation) {
        json::object parameters{{"nqn", words->nqn}};
        if (!words->serial.empty()) parameters["serial_number"] = words->serial;
        if (!words->model.empty()) parameters["model_number"] = words->model;
        if (words->any) parameters["allow_any_host"] = true;
        parameters["ana_reporting"] = true;
        if (words->min_cntlid != 0) parameters["min_cntlid"] = words->min_cntlid;
        if (words->max_cntlid != 0) parameters["max_cntlid"] = words->max_cntlid;
        return conversation.change("nvmf_create_subsystem", parameters, "created " + words->nqn);
      });
  create.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  create.text("serial", "TEXT", "its serial number (default: derived from the NQN)", words->serial);
  create.text("model", "TEXT", "its model", words->model);
  create.flag("any-host", "let any host connect", words->any);
  create.count("min-cntlid", "the least controller id (default: 1)", words->min_cntlid,
               {.least = 1});
  create.count("max-cntlid", "the greatest controller id (default: 65519)", words->max_cntlid,
               {.least = 1});
  base::CommandLine& remove =
      commands.add("subsystem-delete", "delete a subsystem; its hosts are disconnected", kKind,
                   [words](Conversation& conversation) {
                     return conversation.change("nvmf_delete_subsystem", {{"nqn", words->nqn}},
                                                "deleted " + words->nqn);
                   });
  remove.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  base::CommandLine& controllers =
      commands.add("controllers", "list the hosts that are connected to a subsystem", kKind,
                   [words](Conversation& conversation) -> absl::Status {
                     const auto answer =
                         conversation.ask("nvmf_subsystem_get_controllers", {{"nqn", words->nqn}});
                     if (!answer.ok()) return answer.status();
                     Table table({">CNTLID", "HOST", "HOSTID", ">QUEUES"});
                     for (const json::value& each : list(*answer, "")) {
                       table.row({shown(each, "cntlid"), shown(each, "hostnqn"),
                                  shown(each, "hostid"), shown(each, "num_io_qpairs")});
                     }
                     return conversation.print(*answer, table.text());
                   });
  controllers.operand("NQN", "the subsystem's name", kNqn, words->nqn);
}

namespace {

absl::Status print_namespaces(Conversation& conversation, const std::string& nqn) {
  const auto found = subsystems(conversation, nqn);
  if (!found.ok()) return found.status();
  Table table({">NSID", "STORE", "UUID", ">GROUP", "HOSTS"});
  const json::value& subsystem = found->front();
  for (const json::value& each : list(subsystem, "namespaces")) {
    const bool hidden = shown(each, "no_auto_visible") == "yes";
    table.row({shown(each, "nsid"), shown(each, "name"), shown(each, "uuid"),
               shown(each, "anagrpid"), hidden ? listed_hosts(each) : "all"});
  }
  const json::array& all = list(subsystem, "namespaces");
  return conversation.print(all, table.text());
}

// Updates the size of a namespace's store: a null store gets the given size, a file's size is read
// again.
absl::Status resize(Conversation& conversation, const Words& words) {
  if (words.nsid == 0) return missing("--nsid is missing; namespace list shows them");
  const auto found = subsystems(conversation, words.nqn);
  if (!found.ok()) return found.status();
  for (const json::value& each : list(found->front(), "namespaces")) {
    if (number(each, "nsid") != words.nsid) continue;
    return resize_store(conversation, shown(each, "name"), words.size);
  }
  return absl::NotFoundError(
      absl::StrCat(words.nqn, " has no namespace ", words.nsid, "; namespace list shows them"));
}

// The commands for namespaces that only some hosts see.
void add_visibility(Commands& commands) {
  const auto words = std::make_shared<Words>();
  const auto pair =
      add_pair(commands, {"namespace-reveal", "let a host see a hidden namespace"},
               {"namespace-hide", "no longer let a host see a hidden namespace"},
               [words](Conversation& conversation, bool reveal) -> absl::Status {
                 if (words->nsid == 0)
                   return missing("--nsid is missing; namespace list shows those");
                 if (words->host.empty()) return missing("--host NQN is missing");
                 return conversation.change(
                     reveal ? "nvmf_ns_add_host" : "nvmf_ns_remove_host",
                     {{"nqn", words->nqn}, {"nsid", words->nsid}, {"host", words->host}},
                     absl::StrCat(words->host, reveal ? " sees" : " no longer sees", " namespace ",
                                  words->nsid));
               });
  for (base::CommandLine* each : pair) {
    each->operand("NQN", "the subsystem's name", kNqn, words->nqn);
    each->required("--nsid N --host NQN");
    each->count("nsid", "the namespace", words->nsid, {.least = 1});
    each->text("host", "TEXT", "the host's NQN", words->host);
  }
}

}  // namespace

void add_namespaces(Commands& commands) {
  const auto words = std::make_shared<Words>();
  base::CommandLine& show = commands.add(
      "namespace-list", "list the namespaces of a subsystem", kKind,
      [words](Conversation& conversation) { return print_namespaces(conversation, words->nqn); });
  show.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  base::CommandLine& add = commands.add(
      "namespace-add", "serve a store as a namespace", kKind,
      [words](Conversation& conversation) -> absl::Status {
        if (words->store.empty()) {
          return missing("--store is missing; store list shows them");
        }
        json::object ns{{"bdev_name", words->store}};
        if (words->nsid != 0) ns["nsid"] = words->nsid;
        if (!words->uuid.empty()) ns["uuid"] = words->uuid;
        if (words->hidden) ns["no_auto_visible"] = true;
        if (words->group != 0) ns["anagrpid"] = words->group;
        const auto nsid =
            conversation.ask("nvmf_subsystem_add_ns", {{"nqn", words->nqn}, {"namespace", ns}});
        if (!nsid.ok()) return nsid.status();
        return conversation.print(
            *nsid, absl::StrCat("added namespace ", shown(*nsid, ""), " to ", words->nqn, "\n"));
      });
  add.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  add.required("--store NAME");
  add.text("store", "TEXT", "the name of the store", words->store);
  add.count("nsid", "its id (default: the lowest free one)", words->nsid, {.least = 1});
  add.text("uuid", "TEXT", "its UUID (default: that of the store)", words->uuid);
  add.flag("hidden", "no host sees it until namespace reveal", words->hidden);
  add.count("ana-group", "its ANA group (default: 1)", words->group, {.least = 1});
  base::CommandLine& remove =
      commands.add("namespace-remove", "remove a namespace; its store stays", kKind,
                   [words](Conversation& conversation) {
                     if (words->nsid == 0)
                       return missing("--nsid is missing; namespace list shows them");
                     return conversation.change("nvmf_subsystem_remove_ns",
                                                {{"nqn", words->nqn}, {"nsid", words->nsid}},
                                                absl::StrCat("removed namespace ", words->nsid));
                   });
  base::CommandLine& grow = commands.add(
      "namespace-resize",
      "change the size of a namespace's null store, or read its file's size again", kKind,
      [words](Conversation& conversation) { return resize(conversation, *words); });
  for (base::CommandLine* each : {&remove, &grow}) {
    each->operand("NQN", "the subsystem's name", kNqn, words->nqn);
    each->required("--nsid N");
    each->count("nsid", "the namespace", words->nsid, {.least = 1});
  }
  grow.size("size", kSizeHelp, words->size);
  add_visibility(commands);
}

namespace {

absl::Status admit_host(Conversation& conversation, const Words& words, bool admit) {
  if (words.any) {
    return conversation.change("nvmf_subsystem_allow_any_host",
                               {{"nqn", words.nqn}, {"allow_any_host", admit}},
                               admit ? "any host may connect" : "only listed hosts may connect");
  }
  if (words.host.empty()) return missing("--host NQN, or --any, is missing");
  return conversation.change(admit ? "nvmf_subsystem_add_host" : "nvmf_subsystem_remove_host",
                             {{"nqn", words.nqn}, {"host", words.host}},
                             words.host + (admit ? " may connect" : " may no longer connect"));
}

}  // namespace

void add_hosts(Commands& commands) {
  const auto words = std::make_shared<Words>();
  base::CommandLine& show = commands.add(
      "host-list", "list the hosts that may connect to a subsystem", kKind,
      [words](Conversation& conversation) -> absl::Status {
        const auto found = subsystems(conversation, words->nqn);
        if (!found.ok()) return found.status();
        const json::value& subsystem = found->front();
        if (shown(subsystem, "allow_any_host") == "yes") {
          return conversation.print(list(subsystem, "hosts"), "any host may connect\n");
        }
        Table table({"HOST"});
        for (const json::value& each : list(subsystem, "hosts")) table.row({shown(each, "nqn")});
        return conversation.print(list(subsystem, "hosts"), table.text());
      });
  const auto pair = add_pair(commands, {"host-add", "let a host connect to a subsystem"},
                             {"host-remove", "no longer let a host connect; it is disconnected"},
                             [words](Conversation& conversation, bool admit) {
                               return admit_host(conversation, *words, admit);
                             });
  pair[0]->flag("any", "let any host connect", words->any);
  pair[1]->flag("any", "let only listed hosts connect", words->any);
  show.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  for (base::CommandLine* each : pair) {
    each->operand("NQN", "the subsystem's name", kNqn, words->nqn);
    each->text("host", "TEXT", "the host's NQN", words->host);
    each->excludes("any", {"host"}, "with --any hosts need not be listed");
  }
}

json::object listen_address(const Address& address) {
  constexpr uint16_t kDefaultPort = 4420;
  const uint16_t port = address.port == 0 ? kDefaultPort : address.port;
  json::object where{{"trtype", "RDMA"},
                     {"adrfam", address.host.find(':') != std::string::npos ? "IPv6" : "IPv4"},
                     {"traddr", absl::StrCat(address.transport, "://", address.host)},
                     {"trsvcid", absl::StrCat(port)}};
  if (!address.options.empty()) where["options"] = address.options;
  return where;
}

namespace {

absl::Status change_listener(Conversation& conversation, const Words& words, bool listen) {
  if (words.address.empty()) return missing("--address is missing; as verbs://10.0.0.1:4420");
  const auto address = Address::parse(words.address);
  if (!address.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--address: ", address.status().message()));
  }
  return conversation.change(
      listen ? "nvmf_subsystem_add_listener" : "nvmf_subsystem_remove_listener",
      {{"nqn", words.nqn}, {"listen_address", listen_address(*address)}},
      absl::StrCat(listen ? "listening on " : "no longer listening on ", words.address));
}

}  // namespace

void add_listeners(Commands& commands) {
  const auto words = std::make_shared<Words>();
  base::CommandLine& show =
      commands.add("listener-list", "list the addresses of a subsystem", kKind,
                   [words](Conversation& conversation) -> absl::Status {
                     const auto found = subsystems(conversation, words->nqn);
                     if (!found.ok()) return found.status();
                     const json::array& all = list(found->front(), "listen_addresses");
                     Table table({"TYPE", "FAMILY", "ADDRESS", ">PORT"});
                     for (const json::value& each : all) {
                       table.row({shown(each, "trtype"), shown(each, "adrfam"),
                                  shown(each, "traddr"), shown(each, "trsvcid")});
                     }
                     return conversation.print(all, table.text());
                   });
  const auto pair =
      add_pair(commands, {"listener-add", "let hosts reach a subsystem by an address"},
               {"listener-remove", "end an address of a subsystem"},
               [words](Conversation& conversation, bool listen) {
                 return change_listener(conversation, *words, listen);
               });
  show.operand("NQN", "the subsystem's name", kNqn, words->nqn);
  for (base::CommandLine* each : pair) {
    each->operand("NQN", "the subsystem's name", kNqn, words->nqn);
    each->required("--address ADDRESS");
    each->option("address", "ADDRESS", "uiwarp://HOST:PORT or verbs://HOST:PORT",
                 [words](std::string_view text) {
                   words->address = text;
                   return Address::parse(text).status();
                 });
  }
}

}  // namespace mrpool::ctl
