#include "examples/nvmf/target/control.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/base/units.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::choice;
using control::flag;
using control::Given;
using control::number;
using control::object;
using control::only;
using control::Parameter;
using control::required;
using control::Result;
using control::text;
using engine::NamedStore;

namespace {

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::vector<Parameter> of_subsystem(std::vector<Parameter> more) {
  more.insert(more.begin(), {nqn_parameter(), target_parameter()});
  return more;
}

}  // namespace

Parameter listen_address() {
  return object("listen_address", "the address that hosts connect to",
                {required(text("trtype", "RDMA")), text("adrfam", "IPv4 or IPv6, as traddr is"),
                 required(text("traddr",
                               "a numeric address or a name; verbs://ADDRESS or uiwarp://ADDRESS "
                               "names the transport too")),
                 text("trsvcid", "the port; default: 4420"),
                 text("options", "of the address, as tls=psk&tls-psk=FILE")});
}

namespace {

// The scheme of the existing ports; without ports, the one that every machine has.
std::string usual_scheme(const Config& config) {
  const std::vector<std::string> ports = ports_of(config);
  return ports.empty() ? "uiwarp" : ports.front().substr(0, ports.front().find("://"));
}

absl::Status check_family(const std::string& family, const std::string& host) {
  const auto address = base::IpAddress::parse(host);
  const std::string lower = absl::AsciiStrToLower(family);
  if (lower.empty() || !address) return absl::OkStatus();
  if (lower != "ipv4" && lower != "ipv6") {
    return bad("\"listen_address.adrfam\": \"", family, "\" is not possible; write IPv4 or IPv6");
  }
  if ((lower == "ipv6") == address->ipv6()) return absl::OkStatus();
  return bad("\"listen_address.adrfam\": ", host, " is not ", family);
}

bool same_place(const std::string& one, const std::string& other) {
  return one.substr(0, one.find('?')) == other.substr(0, other.find('?'));
}

// `place`, with the options of the port that is there already.
std::string with_known_options(const std::string& place, const Config& config) {
  for (const std::string& port : ports_of(config)) {
    if (same_place(port, place)) return port;
  }
  return place;
}

}  // namespace

absl::StatusOr<std::string> address_of(const Given& where, const Config& config) {
  if (!absl::EqualsIgnoreCase(where.text("trtype"), "RDMA")) {
    return bad("\"listen_address.trtype\": \"", where.text("trtype"),
               "\" is not possible: this daemon serves RDMA");
  }
  std::string host = where.text("traddr");
  std::string scheme = usual_scheme(config);
  if (const size_t end = host.find("://"); end != host.npos) {
    scheme = host.substr(0, end);
    host = host.substr(end + 3);
  }
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (absl::Status status = check_family(where.text("adrfam"), host); !status.ok()) return status;
  const auto port = base::parse_count(where.text("trsvcid", absl::StrCat(nvme::kDefaultPort)),
                                      {.least = 1, .most = 65535});
  if (!port.ok()) return bad("\"listen_address.trsvcid\": ", port.status().message());
  const bool ipv6 = host.find(':') != host.npos;
  const std::string place =
      absl::StrCat(scheme, "://", ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", *port);
  const std::string options = where.text("options");
  const std::string address =
      options.empty() ? with_known_options(place, config) : absl::StrCat(place, "?", options);
  const auto parsed = Address::parse(address);
  if (!parsed.ok()) return bad("\"listen_address\": ", parsed.status().message());
  return address;
}

namespace {

bool lists(const std::vector<std::string>& addresses, const std::string& address) {
  return std::ranges::find(addresses, address) != addresses.end();
}

// The namespace that a client specifies.
absl::StatusOr<NamespaceConfig> namespace_of(const Given& given) {
  NamespaceConfig ns;
  ns.nsid = uint32_t(given.number("nsid"));
  ns.store = given.text("bdev_name");
  ns.storage = given.text("storage");
  if (ns.store.empty() == ns.storage.empty()) {
    return bad(
        "give the namespace a \"bdev_name\", a store that bdev_get_bdevs lists, or a "
        "\"storage\", as ram:64MiB; one of them");
  }
  if (!ns.storage.empty()) {
    if (absl::Status status = take_own_options(ns); !status.ok()) return status;
    ns.block_size = uint32_t(given.number("block_size", ns.block_size));
  }
  if (given.number("anagrpid") != 0) ns.ana_group = uint32_t(given.number("anagrpid"));
  if (given.flag("no_auto_visible")) ns.hosts.emplace();
  const std::string uuid = given.text("uuid");
  if (uuid.empty()) return ns;
  const auto parsed = storage::parse_uuid(uuid);
  if (!parsed.ok()) return bad("\"namespace.uuid\": ", parsed.status().message());
  ns.uuid = *parsed;
  return ns;
}

// Allows the deletion of everything in `config`.
Config may_become_empty(Config config) {
  config.may_be_empty = true;
  return config;
}

// Checks that every namespace still has its store.
absl::Status check_used(const Config& config) {
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.store.empty() || engine::find_store(config.stores, ns.store) != nullptr) continue;
      return absl::FailedPreconditionError(absl::StrCat("store ", ns.store, " is ", subsystem.nqn,
                                                        " namespace ", ns.nsid,
                                                        "; remove the namespace first"));
    }
  }
  return absl::OkStatus();
}

uint32_t lowest_free(const SubsystemConfig& subsystem) {
  uint32_t nsid = 1;
  while (std::ranges::find(subsystem.namespaces, nsid, &NamespaceConfig::nsid) !=
         subsystem.namespaces.end()) {
    ++nsid;
  }
  return nsid;
}

}  // namespace

Parameter nqn_parameter() { return required(text("nqn", "the subsystem")); }

Parameter target_parameter() { return only("tgt_name", "nvmf_tgt", "there is one target"); }

absl::StatusOr<SubsystemConfig*> find_subsystem(Config& config, std::string_view nqn) {
  const auto at = std::ranges::find(config.subsystems, nqn, &SubsystemConfig::nqn);
  if (at != config.subsystems.end()) return &*at;
  return absl::NotFoundError(absl::StrCat("there is no subsystem \"", std::string(nqn),
                                          "\"; nvmf_get_subsystems lists them"));
}

Control::Control(Service& service, Config config, std::string config_file)
    : service_(service),
      live_(service, may_become_empty(std::move(config))),
      config_file_(std::move(config_file)) {}

void Control::add_methods(engine::Administration& administration) {
  administration_ = &administration;
  store_methods_ = engine::add_store_methods(administration, *this);
  add_subsystem_methods();
  add_host_methods();
  add_listener_methods();
  add_ana_methods();
  add_namespace_methods();
  add_visibility_methods();
  add_key_methods();
  add_discovery_methods();
  add_limit_methods();
  add_referral_methods();
  add_show_methods();
  add_config_methods();
}

std::vector<engine::Step> Control::change_stores(Edit edit) {
  return live_.change([edit = std::move(edit)](Config& config) {
    const absl::Status status = edit(config.stores);
    return status.ok() ? check_used(config) : status;
  });
}

void Control::add_change(std::string name, std::string summary, std::vector<Parameter> parameters,
                         Change change) {
  administration_->methods.add(
      {.name = std::move(name),
       .summary = std::move(summary),
       .parameters = std::move(parameters),
       .changes = true,
       .start = [this, change = std::move(change)](const Given& given, control::Reply reply) {
         const auto result = std::make_shared<json::value>(true);
         administration_->changes.add(live_.change([change, given, result](Config& config) {
           return change(given, config, *result);
         }),
                                      [result, reply](const absl::Status& status) {
                                        reply(status.ok() ? Result(*result) : Result(status));
                                      });
       }});
}

void Control::add_look(std::string name, std::string summary, std::vector<Parameter> parameters,
                       std::function<Result(const Given&)> look) {
  administration_->methods.add({.name = std::move(name),
                                .summary = std::move(summary),
                                .parameters = std::move(parameters),
                                .run = std::move(look)});
}

void Control::add_subsystem_methods() {
  add_change("nvmf_create_subsystem", "create a subsystem without namespaces",
             of_subsystem(
                 {text("serial_number", "20 characters; default: derived from the NQN"),
                  text("model_number", "40 characters"),
                  flag("allow_any_host", "any host may connect; default: none"),
                  number("max_namespaces", "more are refused", 1, kMaxNamespaces),
                  flag("ana_reporting", "hosts learn the ANA states; default: no"),
                  number("min_cntlid", "the least controller id; default: 1", 1, kMaxControllerId),
                  number("max_cntlid", "the greatest; default: 65519", 1, kMaxControllerId),
                  only("admin_label", "", "there is none"),
                  only("dmrsl", 0, "a range of Dataset Management may have any length"),
                  only("wzsl", 0, "Write Zeroes may have any length"),
                  only("passthrough", false, "stores are not NVMe drives"),
                  only("enable_nssr", false, "there is no subsystem reset")}),
             [](const Given& given, Config& config, json::value&) {
               if (find_subsystem(config, given.text("nqn")).ok()) {
                 return absl::AlreadyExistsError(
                     absl::StrCat("there is a subsystem \"", given.text("nqn"), "\" already"));
               }
               SubsystemConfig& subsystem = config.subsystems.emplace_back();
               subsystem.nqn = given.text("nqn");
               subsystem.serial = given.text("serial_number");
               subsystem.model = given.text("model_number");
               subsystem.max_namespaces = uint32_t(given.number("max_namespaces", kMaxNamespaces));
               subsystem.ana_reporting = given.flag("ana_reporting");
               subsystem.min_cntlid = uint16_t(given.number("min_cntlid", 1));
               subsystem.max_cntlid = uint16_t(given.number("max_cntlid", kMaxControllerId));
               if (!given.flag("allow_any_host")) subsystem.hosts.emplace();
               return absl::OkStatus();
             });
  add_change(
      "nvmf_delete_subsystem", "delete a subsystem; its hosts are disconnected", of_subsystem({}),
      [](const Given& given, Config& config, json::value&) {
        const auto found = find_subsystem(config, given.text("nqn"));
        if (!found.ok()) return found.status();
        config.subsystems.erase(config.subsystems.begin() + (*found - config.subsystems.data()));
        forget_listeners(config);
        return absl::OkStatus();
      });
}

void Control::add_host_methods() {
  const Parameter host = required(text("host", "the NQN of a host"));
  std::vector<Parameter> added = proof_parameters();
  added.insert(added.begin(), {host, only("psk", "", "RDMA has no TLS")});
  add_change(
      "nvmf_subsystem_add_host", "let a host connect", of_subsystem(std::move(added)),
      [](const Given& given, Config& config, json::value&) {
        const auto found = find_subsystem(config, given.text("nqn"));
        if (!found.ok()) return found.status();
        SubsystemConfig& subsystem = **found;
        if (!subsystem.hosts) {
          subsystem.hosts.emplace();
          subsystem.allow_any_host = true;
        }
        if (subsystem.hosts->insert(given.text("host")).second) return set_proof(given, subsystem);
        return absl::AlreadyExistsError(absl::StrCat(given.text("host"), " may connect already"));
      });
  add_change("nvmf_subsystem_remove_host", "no longer let a host connect; disconnects it",
             of_subsystem({host, number("timeout_ms", "no effect: its commands end first")}),
             [](const Given& given, Config& config, json::value&) {
               const auto found = find_subsystem(config, given.text("nqn"));
               if (!found.ok()) return found.status();
               SubsystemConfig& subsystem = **found;
               if (subsystem.hosts && subsystem.hosts->erase(given.text("host")) > 0) {
                 subsystem.proofs.erase(given.text("host"));
                 return absl::OkStatus();
               }
               return absl::NotFoundError(
                   absl::StrCat(given.text("host"), " is not in the list of hosts"));
             });
  add_change("nvmf_subsystem_allow_any_host", "let any host connect, or only listed hosts",
             of_subsystem({required(flag("allow_any_host", "any host"))}),
             [](const Given& given, Config& config, json::value&) {
               const auto found = find_subsystem(config, given.text("nqn"));
               if (!found.ok()) return found.status();
               SubsystemConfig& subsystem = **found;
               if (!subsystem.hosts) subsystem.hosts.emplace();
               subsystem.allow_any_host = given.flag("allow_any_host");
               return absl::OkStatus();
             });
}

void Control::add_listener_methods() {
  const auto find = [](const Given& given, Config& config) -> absl::StatusOr<SubsystemConfig*> {
    if (given.text("nqn") == nvme::kDiscoveryNqn) {
      return absl::InvalidArgumentError("discovery is served by every port; name a subsystem");
    }
    return find_subsystem(config, given.text("nqn"));
  };
  add_change(
      "nvmf_subsystem_add_listener", "open a port; it serves all subsystems",
      of_subsystem({required(listen_address()),
                    only("secure_channel", false, "there is no TLS on RDMA"), ana_state_parameter(),
                    only("sock_impl", "", "RDMA has no sockets"), only("numa_id", -1, "any node")}),
      [find](const Given& given, Config& config, json::value&) {
        const auto found = find(given, config);
        if (!found.ok()) return found.status();
        const auto address = address_of(given.object("listen_address"), config);
        if (!address.ok()) return address.status();
        for (const std::string& there : (*found)->listeners) {
          if (!same_place(there, *address)) continue;
          return absl::AlreadyExistsError(absl::StrCat(there, " is a listener of it already"));
        }
        (*found)->listeners.push_back(*address);
        if (!given.has("ana_state")) return absl::OkStatus();
        return set_ana_state_of(given, *address, **found);
      });
  add_change("nvmf_subsystem_remove_listener",
             "close a port, if no other subsystem lists it; connections stay",
             of_subsystem({required(listen_address())}),
             [find](const Given& given, Config& config, json::value&) {
               const auto found = find(given, config);
               if (!found.ok()) return found.status();
               const auto address = address_of(given.object("listen_address"), config);
               if (!address.ok()) return address.status();
               if (std::erase((*found)->listeners, *address) > 0) {
                 forget_listeners(config);
                 return absl::OkStatus();
               }
               if (lists(config.listen, *address)) {
                 return absl::FailedPreconditionError(
                     absl::StrCat(*address,
                                  " is a port of the whole daemon, from \"listen\" of its "
                                  "configuration or --listen; change it there"));
               }
               return absl::NotFoundError(absl::StrCat(*address, " is not a listener of it"));
             });
}

void Control::add_namespace_methods() {
  const Parameter described = required(object(
      "namespace", "the namespace",
      {text("bdev_name", "the name of a store from bdev_get_bdevs"),
       text("storage", "or a storage without a name, as ram:64MiB"),
       number("block_size", "of the latter: 512 or 4096", 512, 4096),
       number("nsid", "default: the lowest free one", 1, kMaxNamespaces),
       text("uuid", "default: that of the store"), only("nguid", "", "it is the UUID"),
       only("eui64", "", "there is none"), only("ptpl_file", "", "there are no reservations"),
       number("anagrpid", "its ANA group; default: 1", 0, kMaxAnaGroups),
       flag("no_auto_visible", "no host sees it until nvmf_ns_add_host"),
       only("hide_metadata", false, "there is no metadata")}));
  add_change("nvmf_subsystem_add_ns", "add a namespace; its number is the result",
             of_subsystem({described}),
             [](const Given& given, Config& config, json::value& result) {
               const auto found = find_subsystem(config, given.text("nqn"));
               if (!found.ok()) return found.status();
               auto ns = namespace_of(given.object("namespace"));
               if (!ns.ok()) return ns.status();
               if (ns->nsid == 0) ns->nsid = lowest_free(**found);
               result = ns->nsid;
               (*found)->namespaces.push_back(*std::move(ns));
               return absl::OkStatus();
             });
  add_change(
      "nvmf_subsystem_remove_ns", "remove a namespace and notify hosts",
      of_subsystem({required(number("nsid", "its number", 1))}),
      [](const Given& given, Config& config, json::value&) {
        const auto found = find_subsystem(config, given.text("nqn"));
        if (!found.ok()) return found.status();
        const auto nsid = uint32_t(given.number("nsid"));
        if (std::erase_if((*found)->namespaces,
                          [nsid](const NamespaceConfig& each) { return each.nsid == nsid; }) > 0) {
          return absl::OkStatus();
        }
        return absl::NotFoundError(absl::StrCat(given.text("nqn"), " has no namespace ", nsid));
      });
}

void Control::add_visibility_methods() {
  // The hosts that see the namespace, if it is not visible to all.
  const auto hosts_of = [](const Given& given, Config& config) -> absl::StatusOr<HostSet*> {
    const auto found = find_subsystem(config, given.text("nqn"));
    if (!found.ok()) return found.status();
    const auto nsid = uint32_t(given.number("nsid"));
    const auto ns = std::ranges::find((*found)->namespaces, nsid, &NamespaceConfig::nsid);
    if (ns == (*found)->namespaces.end()) {
      return absl::NotFoundError(absl::StrCat(given.text("nqn"), " has no namespace ", nsid));
    }
    if (ns->hosts) return &*ns->hosts;
    return absl::FailedPreconditionError(
        absl::StrCat("every host sees namespace ", nsid, " of ", given.text("nqn"),
                     "; remove it, and add it with \"no_auto_visible\""));
  };
  const std::vector<Parameter> parameters =
      of_subsystem({required(number("nsid", "its number", 1)),
                    required(text("host", "the NQN of a host, connected or not"))});
  add_change(
      "nvmf_ns_add_host", "let a host see a namespace", parameters,
      [hosts_of](const Given& given, Config& config, json::value&) {
        const auto hosts = hosts_of(given, config);
        if (!hosts.ok()) return hosts.status();
        if ((*hosts)->insert(given.text("host")).second) return absl::OkStatus();
        return absl::AlreadyExistsError(absl::StrCat(given.text("host"), " sees it already"));
      });
  add_change("nvmf_ns_remove_host", "no longer let a host see a namespace; notifies the host",
             parameters, [hosts_of](const Given& given, Config& config, json::value&) {
               const auto hosts = hosts_of(given, config);
               if (!hosts.ok()) return hosts.status();
               if ((*hosts)->erase(given.text("host")) > 0) return absl::OkStatus();
               return absl::NotFoundError(absl::StrCat(given.text("host"), " does not see it"));
             });
}

}  // namespace mrpool::nvmf_target
