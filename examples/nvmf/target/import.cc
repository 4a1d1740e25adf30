#include "examples/nvmf/target/import.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_text.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/spec.h"
#include "examples/storage/uuid.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {
namespace {

using base::ImportObject;
using base::ImportWeight;
using Usual = ImportObject::Usual;

constexpr uint64_t kMax32 = std::numeric_limits<uint32_t>::max();

// Keys with the same value in almost every file, and keys without effect on this daemon.
constexpr Usual kOfSubsystem[] = {
    {"model", "mrpool NVMe-oF target", ImportWeight::kMinor, "hosts see this daemon's own model"},
    {"firmware", "", ImportWeight::kMinor, ""},
    {"version", "1.3|1.4|2.1", ImportWeight::kMinor, "hosts see the version of this daemon"},
    {"ieee_oui", "0x000000", ImportWeight::kMinor, "hosts see none"},
    {"qid_max", "128", ImportWeight::kMinor, "a host may have 128 I/O queues"},
    {"pi_enable", "0", ImportWeight::kLost, "hosts see no protection information"},
};
constexpr Usual kOfPort[] = {
    {"pi_enable", "0", ImportWeight::kMinor, "hosts see no protection information"},
    {"max_queue_size", "", ImportWeight::kMinor, ""},
    {"mdts", "", ImportWeight::kMinor, ""},
};

// A port, whether or not hosts can connect to it.
struct Port {
  std::string path;
  uint64_t id = 0;
  std::string address;  // empty: this daemon does not support it
  std::set<std::string> subsystems;
  std::map<uint64_t, AnaState> ana;  // the state of each group
  std::optional<uint32_t> inline_data;
  std::vector<Referral> referrals;
  std::string name() const { return absl::StrCat("port ", id, " (", address, ")"); }
};

struct ImportedNamespace {
  NamespaceConfig config;
  std::string path;
  uint64_t group = 1;  // of ANA
};

struct ImportedSubsystem {
  SubsystemConfig config;
  std::string path;
  std::vector<ImportedNamespace> namespaces;
  bool passthru = false;
};

class Importer {
 public:
  Importer(const base::JsonText& text, const engine::ImportOptions& options)
      : options_(options), log_(text), root_(text.value.as_object(), {}, log_) {}

  absl::StatusOr<Imported> run() {
    root_.objects("hosts", [this](ImportObject& each) { read_host(each); });
    root_.objects("ports", [this](ImportObject& each) { read_port(each); });
    root_.objects("subsystems", [this](ImportObject& each) { read_subsystem(each); });
    root_.object("discovery", [](ImportObject& discovery) {
      static constexpr Usual kKeys[] = {{"nqn", nvme::kDiscoveryNqn, ImportWeight::kLost,
                                         "discovery has only the well-known name"}};
      discovery.usual(kKeys);
    });
    root_.finish();
    if (!log_.status().ok()) return log_.status();
    Imported result;
    for (ImportedSubsystem& each : subsystems_) serve(each, result.config);
    listen(result.config);
    result.notes = log_.take_notes();
    return result;
  }

 private:
  void read_host(ImportObject& host) {
    const std::string nqn = host.text("nqn");
    HostProof proof;
    host.object("dhchap", [&](ImportObject& keys) { read_proof(keys, proof); });
    if (!proof.key.empty()) proofs_.emplace(nqn, std::move(proof));
  }

  void read_proof(ImportObject& keys, HostProof& proof) {
    proof.key = read_secret(keys, "key");
    proof.ctrlr_key = read_secret(keys, "ctrl_key");
    std::string hash = keys.text("hash");
    const std::string group = keys.text("dhgroup");
    if (proof.key.empty()) {
      if (proof.ctrlr_key.empty()) return;
      return keys.note(ImportWeight::kLost, "ctrl_key",
                       "has no effect without a key, as in the kernel");
    }
    if (hash.starts_with("hmac(") && hash.ends_with(")")) hash = hash.substr(5, hash.size() - 6);
    prefer(keys, "hash", hash, nvme::auth::kHashes, nvme::auth::parse_hash(hash), proof.digests);
    prefer(keys, "dhgroup", group, nvme::auth::kGroups, nvme::auth::parse_group(group),
           proof.dhgroups);
  }

  // A secret is not shown, not even a wrong one.
  std::string read_secret(ImportObject& keys, std::string_view name) {
    std::string secret = keys.text(name);
    if (secret.empty()) return secret;
    if (const auto parsed = nvme::auth::parse_key(secret); !parsed.ok()) {
      keys.fail(name, std::string(parsed.status().message()));
    }
    return secret;
  }

  // As the kernel does: the one that is named, or else another that the host has.
  template <typename T, size_t N>
  void prefer(ImportObject& keys, std::string_view name, const std::string& text,
              const std::array<T, N>& known, std::optional<T> first, std::vector<T>& to) {
    if (!first) {
      if (text.empty()) return;
      return keys.note(ImportWeight::kMinor, name,
                       absl::StrCat("is \"", text, "\", which is not known here"));
    }
    to.push_back(*first);
    std::ranges::copy_if(known, std::back_inserter(to), [&](T each) { return each != *first; });
  }

  void read_port(ImportObject& object) {
    Port port;
    port.path = object.path();
    port.id = object.number("portid", 0, kMax32);
    object.object("addr", [&](ImportObject& address) { read_address(address, port); });
    object.object("param", [&](ImportObject& parameters) {
      const std::string data = parameters.text("inline_data_size", "-1");
      if (data != "-1") {
        port.inline_data = uint32_t(parameters.number("inline_data_size", 0, kMax32));
      }
      parameters.usual(kOfPort);
    });
    for (std::string& nqn : object.texts("subsystems")) port.subsystems.insert(std::move(nqn));
    object.objects("ana_groups", [&](ImportObject& group) {
      AnaState& state = port.ana[group.number("grpid", 0, kMax32)];
      state = AnaState::kOptimized;
      group.object("ana", [&](ImportObject& ana) {
        const auto given = nvme::parse_ana_state(ana.text("state", "optimized"));
        if (!given.ok()) return ana.fail("state", std::string(given.status().message()));
        state = *given;
      });
    });
    object.objects("referrals", [&](ImportObject& each) { read_referral(each, port); });
    object.known({"enable"});
    ports_.push_back(std::move(port));
  }

  // Reads a port's address; leaves it empty if hosts cannot connect to it here.
  void read_address(ImportObject& object, Port& port) {
    static constexpr Usual kKeys[] = {
        {"treq", "not specified|not required|", ImportWeight::kLost,
         "RDMA has no secure channel, and none is asked for"},
        {"tsas", "", ImportWeight::kMinor, ""},
    };
    const std::string type = object.text("trtype"), family = object.text("adrfam");
    const std::string host = object.text("traddr"), service = object.text("trsvcid");
    object.usual(kKeys);
    if (type != "rdma") {
      return object.note(ImportWeight::kLost, "trtype",
                         type.empty() ? "is empty: the port is omitted"
                                      : absl::StrCat("is \"", type,
                                                     "\": this daemon supports RDMA only, so the "
                                                     "port is omitted"));
    }
    if (family != "ipv4" && family != "ipv6") {
      return object.note(ImportWeight::kLost, "adrfam",
                         absl::StrCat("is \"", family,
                                      "\", which is neither ipv4 nor ipv6: the port is "
                                      "omitted"));
    }
    port.address = engine::import_address(options_, host, service);
    const auto parsed = Address::parse(port.address);
    if (!parsed.ok()) object.fail("traddr", std::string(parsed.status().message()));
  }

  // Reads a referral, or notes why it is omitted.
  void read_referral(ImportObject& object, Port& port) {
    const bool enabled = object.flag("enable", false);
    std::string why = "it has no address";
    object.object("addr", [&](ImportObject& address) {
      auto referral = make_referral(address.text("trtype"), address.text("adrfam"),
                                    address.text("traddr"), address.text("trsvcid"), {});
      const std::string channel = address.text("treq");
      address.known({"portid", "tsas"});
      if (!referral.ok()) {
        why = std::string(referral.status().message());
        return;
      }
      why.clear();
      referral->secure_channel = channel == "required";
      referral->line = object.line();
      if (enabled) port.referrals.push_back(*std::move(referral));
    });
    object.known({"name"});
    if (!enabled || why.empty()) return;
    object.note(ImportWeight::kLost, "addr", absl::StrCat("hosts are not notified of it: ", why));
  }

  void read_subsystem(ImportObject& object) {
    ImportedSubsystem subsystem;
    subsystem.path = object.path();
    subsystem.config.line = object.line();
    subsystem.config.nqn = object.text("nqn");
    bool anybody = false;
    object.object("attr", [&](ImportObject& attributes) {
      anybody = attributes.flag("allow_any_host", false);
      subsystem.config.serial = attributes.text("serial");
      read_cntlid(attributes, "cntlid_min", subsystem.config.min_cntlid);
      read_cntlid(attributes, "cntlid_max", subsystem.config.max_cntlid);
      attributes.usual(kOfSubsystem);
    });
    const std::vector<std::string> hosts = object.texts("allowed_hosts");
    if (!anybody) subsystem.config.hosts.emplace(hosts.begin(), hosts.end());
    object.objects("namespaces",
                   [&](ImportObject& each) { read_namespace(each, subsystem.namespaces); });
    object.objects("passthru", [&](ImportObject& each) {
      subsystem.passthru = subsystem.passthru || each.flag("enable", false);
      each.known({"device", "clear_ids", "admin_timeout", "io_timeout"});
    });
    subsystems_.push_back(std::move(subsystem));
  }

  static void read_cntlid(ImportObject& attributes, std::string_view key, uint16_t& to) {
    const uint64_t id = attributes.number(key, to, kMax32);
    if (id >= 1 && id <= kMaxControllerId) {
      to = uint16_t(id);
    } else {
      attributes.fail(key, absl::StrCat("is ", id, "; ids are 1 to ", kMaxControllerId));
    }
  }

  void read_namespace(ImportObject& object, std::vector<ImportedNamespace>& namespaces) {
    ImportedNamespace ns;
    std::string path;
    ns.path = object.path();
    ns.config.line = object.line();
    ns.config.nsid = uint32_t(object.number("nsid", 0, kMax32));
    object.object("device", [&](ImportObject& device) {
      path = device.text("path");
      if (path == "(null)") path.clear();
      read_identity(device, ns.config);
      device.known({"eui64"});
    });
    object.object("ana", [&](ImportObject& ana) { ns.group = ana.number("grpid", 1, kMax32); });
    ns.group = object.number("ana_grpid", ns.group, kMax32);
    if (ns.group == 0) ns.group = 1;  // from kernels without ANA
    if (ns.group > kMaxAnaGroups) {
      object.fail("ana_grpid", absl::StrCat("is ", ns.group, "; the last one is ", kMaxAnaGroups));
    }
    object.object("resv", [](ImportObject& reservations) {
      static constexpr Usual kKeys[] = {
          {"enable", "0", ImportWeight::kLost, "hosts cannot reserve the namespace"}};
      reservations.usual(kKeys);
    });
    const bool buffered = object.flag("buffered_io", false);
    object.known({"p2pmem", "revalidate_size"});
    const bool enabled = object.flag("enable", false);
    if (!enabled || path.empty()) {
      return object.note(ImportWeight::kLost, enabled ? "device.path" : "enable",
                         enabled ? "is empty: the namespace is not served"
                                 : "is off: the namespace is not served");
    }
    const engine::BlockSize blocks = options_.blocks(path);
    if (blocks.bytes != 0) ns.config.block_size = blocks.bytes;
    ns.config.storage = engine::import_file(path, buffered ? "" : ",direct");
    namespaces.push_back(std::move(ns));
  }

  // The UUID, or the NGUID where there is no UUID: this daemon reports the same value for both.
  void read_identity(ImportObject& device, NamespaceConfig& ns) {
    Uuid nguid{};
    for (const auto& [key, to] : {std::pair{"uuid", &ns.uuid}, {"nguid", &nguid}}) {
      const std::string text = device.text(key);
      // The kernel's notation for none.
      if (text.empty() || text.find_first_not_of("0-") == text.npos) continue;
      const auto parsed = storage::parse_uuid(text);
      if (!parsed.ok()) {
        device.fail(key, std::string(parsed.status().message()));
      } else {
        *to = *parsed;
      }
    }
    if (nguid == Uuid{} || nguid == ns.uuid) return;
    if (ns.uuid == Uuid{}) {
      ns.uuid = nguid;
      return;
    }
    device.note(ImportWeight::kLost, "nguid", "hosts see the UUID as the NGUID too");
  }

  void serve(ImportedSubsystem& subsystem, Config& config) {
    const std::string& nqn = subsystem.config.nqn;
    const auto leave_out = [&](std::string_view why) {
      log_.note(ImportWeight::kLost, subsystem.path,
                absl::StrCat(nqn, " is not served: ", std::string(why)));
    };
    if (subsystem.passthru) return leave_out("it passes commands through to a device");
    std::vector<const Port*> ports;
    for (const Port& port : ports_) {
      if (!port.address.empty() && port.subsystems.contains(nqn)) ports.push_back(&port);
    }
    if (ports.empty()) return leave_out("no port with an address of RDMA has it");
    for (ImportedNamespace& ns : subsystem.namespaces) {
      ns.config.ana_group = uint32_t(ns.group);
      for (const Port* port : ports) add_state(uint32_t(ns.group), *port, subsystem.config.ana);
      subsystem.config.namespaces.push_back(std::move(ns.config));
    }
    if (subsystem.config.namespaces.empty()) return leave_out("it has no namespace to serve");
    give_proofs(subsystem.config);
    config.subsystems.push_back(std::move(subsystem.config));
  }

  // The state of the group at the port, unless it is the usual one.
  static void add_state(uint32_t group, const Port& port, std::vector<AnaRule>& rules) {
    const auto at = port.ana.find(group);
    // A kernel has only the first group unless the user created others.
    const AnaState state = at != port.ana.end() ? at->second
                           : group == 1         ? AnaState::kOptimized
                                                : AnaState::kInaccessible;
    if (state != AnaState::kOptimized) set_ana_state(rules, {group, port.address, state});
  }

  void give_proofs(SubsystemConfig& subsystem) const {
    if (!subsystem.hosts) return;  // the kernel does not authenticate if any host may connect
    for (const std::string& host : *subsystem.hosts) {
      if (const auto proof = proofs_.find(host); proof != proofs_.end()) {
        subsystem.proofs.insert(*proof);
      }
    }
  }

  // Listens on the ports of all served subsystems; each port serves everything.
  void listen(Config& config) {
    std::set<std::string> known, served;
    for (const ImportedSubsystem& each : subsystems_) known.insert(each.config.nqn);
    for (const SubsystemConfig& each : config.subsystems) served.insert(each.nqn);
    known.insert(served.begin(), served.end());  // their subsystems_ entries were moved out
    std::optional<uint32_t> inline_data;
    for (const Port& port : ports_) {
      for (const std::string& nqn : port.subsystems) {
        if (known.contains(nqn)) continue;
        log_.note(ImportWeight::kLost, port.path,
                  absl::StrCat("the file has no subsystem ", nqn, ", which the port has"));
      }
      if (port.address.empty()) continue;
      const bool used = std::ranges::any_of(
          port.subsystems, [&](const std::string& nqn) { return served.contains(nqn); });
      if (!used) {
        log_.note(ImportWeight::kLost, port.path,
                  absl::StrCat("has no subsystem that is served, so ", port.address,
                               " is not listened on"));
        continue;
      }
      open(port, config);
      if (port.inline_data) {
        inline_data = std::max(inline_data.value_or(0), *port.inline_data);
      }
    }
    if (inline_data) config.in_capsule = std::min(*inline_data / 16 * 16, kMaxInCapsule);
  }

  void open(const Port& port, Config& config) {
    for (const Referral& referral : port.referrals) {
      if (std::ranges::any_of(config.referrals,
                              [&](const Referral& each) { return same_place(each, referral); })) {
        continue;
      }
      config.referrals.push_back(referral);
    }
    for (const SubsystemConfig& subsystem : config.subsystems) {
      if (port.subsystems.contains(subsystem.nqn)) continue;
      log_.note(ImportWeight::kWider, port.path,
                absl::StrCat(subsystem.nqn, " would be reached by ", port.name(),
                             ", which does not have it"));
    }
    if (std::ranges::find(config.listen, port.address) == config.listen.end()) {
      config.listen.push_back(port.address);
    }
  }

  const engine::ImportOptions& options_;
  base::ImportLog log_;
  ImportObject root_;
  HostProofs proofs_;
  std::vector<Port> ports_;
  std::vector<ImportedSubsystem> subsystems_;
};

}  // namespace

absl::StatusOr<Imported> import_nvmetcli(std::string_view json,
                                         const engine::ImportOptions& options) {
  const auto text = engine::parse_object(json);
  if (!text.ok()) return text.status();
  return Importer(*text, options).run();
}

}  // namespace mrpool::nvmf_target
