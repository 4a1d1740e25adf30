#include "examples/nvmf/target/options.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/json_text.h"
#include "examples/base/secret_file.h"
#include "examples/engine/listen.h"
#include "examples/engine/privileges.h"
#include "examples/engine/rate_limits.h"
#include "examples/nvmf/target/import.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/descriptor.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {
namespace {

constexpr const char* kNotes =
    R"(SIGHUP reads the file of --config again; a broken file is refused whole. SIGINT and SIGTERM end the
daemon in good order; the counters at the end show no MR and no buffer in use.

Exit status:
  0    ended in good order
  1    it could not serve, or something was still in use at the end
  2    the command line or the configuration is wrong
)";
constexpr const char* kExamples =
    R"(  $ mrpool-nvmf-target --listen uiwarp://127.0.0.1:4420 --subnqn NQN --namespace ram:64MiB
  $ mrpool-nvmf-target --config /etc/mrpool/nvmf.json --check-config
)";

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

// Of the --host-nqn before it.
absl::Status set_proof(SubsystemConfig& subsystem, const std::string& last,
                       std::string HostProof::*which, std::string_view place) {
  if (last.empty()) return bad("needs a --host-nqn before it, whose key it is");
  if (nvme::auth::looks_like_key(place)) {
    return bad(
        "a secret on the command line is seen by every user of this machine; write it to a file "
        "with mode 0600 and give its path");
  }
  if (!place.starts_with('/') && !base::names_credential(place)) {
    return bad("'", view(place), "' is neither an absolute path nor credential:NAME");
  }
  std::string& to = subsystem.proofs[last].*which;
  if (!to.empty()) return bad("is given more than once for ", last, "; leave one of them out");
  to = place;
  return absl::OkStatus();
}

void declare_proof(base::CommandLine& program, SubsystemConfig& subsystem) {
  const auto last = std::make_shared<std::string>();
  program.option("host-nqn", "NQN", "a host that may connect; may be repeated (default: any host)",
                 [&subsystem, last](std::string_view text) {
                   if (!subsystem.hosts) subsystem.hosts.emplace();
                   subsystem.hosts->emplace(text);
                   *last = text;
                   return absl::OkStatus();
                 });
  program.repeatable();
  program.option("dhchap-key", "FILE",
                 "the secret that the --host-nqn before it must prove; or credential:NAME",
                 [&subsystem, last](std::string_view text) {
                   return set_proof(subsystem, *last, &HostProof::key, text);
                 });
  program.repeatable();
  program.option("dhchap-ctrlr-key", "FILE",
                 "the secret that the target proves to it when asked; or credential:NAME",
                 [&subsystem, last](std::string_view text) {
                   return set_proof(subsystem, *last, &HostProof::ctrlr_key, text);
                 });
  program.repeatable();
}

void declare_discovery(base::CommandLine& program, Config& config) {
  program.choice("discovery-authentication",
                 "hosts that must prove themselves in discovery: none (off), those with a\n"
                 "--dhchap-key (keys), or these and no others may discover (required)",
                 config.discovery_proof, discovery_proofs());
}

void declare_ana(base::CommandLine& program, SubsystemConfig& subsystem) {
  program.option("ana-state", "STATE",
                 "the state of all ANA groups at first: optimized, non_optimized,\n"
                 "inaccessible, persistent_loss or change",
                 [&subsystem](std::string_view text) {
                   const auto state = nvme::parse_ana_state(text);
                   if (state.ok()) set_ana_state(subsystem.ana, {.state = *state});
                   return state.status();
                 });
  program.count("min-cntlid", "the least controller id; daemons with one subsystem need ranges",
                subsystem.min_cntlid, {.least = 1, .most = kMaxControllerId});
  program.count("max-cntlid", "the greatest controller id", subsystem.max_cntlid,
                {.least = 1, .most = kMaxControllerId});
}

void declare_served(base::CommandLine& program, DaemonOptions& options,
                    SubsystemConfig& subsystem) {
  program.section("What is served");
  program.option("listen", "ADDRESS", engine::listen_help(nvme::kDefaultPort),
                 [&options](std::string_view text) {
                   options.config.listen.emplace_back(text);
                   return Address::parse(text).status();
                 });
  program.repeatable();
  program.option("subnqn", "NQN", "the subsystem's name", [&subsystem](std::string_view text) {
    if (!subsystem.nqn.empty()) {
      return bad("'", view(text), "' would be the second subsystem; use --config for several");
    }
    subsystem.nqn = text;
    return absl::OkStatus();
  });
  program.repeatable();  // the setter says more
  program.option(
      "namespace", "STORAGE",
      absl::StrCat("may be repeated; [,nsid=N] gives the id (default: the lowest that is "
                   "free), [,uuid=UUID] the UUID, [,anagrpid=N] the ANA group; ",
                   engine::kLimitsHelp, ":\n", storage::help()),
      [&subsystem](std::string_view text) {
        NamespaceConfig& ns = subsystem.namespaces.emplace_back();
        ns.storage = text;
        return take_own_options(ns);
      });
  program.repeatable();
  declare_proof(program, subsystem);
  declare_discovery(program, options.config);
  program.flag("no-traffic-keep-alive", "only Keep Alive commands keep an association alive",
               subsystem.traffic_keep_alive, false);
  declare_ana(program, subsystem);
  program.text("config", "FILE",
               "all of this, for several subsystems, as JSON, or a file of nvmetcli; see docs",
               options.config_file);
  program.flag("check-config", "print what would be served, open nothing, and exit",
               options.check_config);
  program.flag("print-config", "print it as a file for --config, and exit", options.print_config);
  program.excludes("config",
                   {"listen", "subnqn", "namespace", "host-nqn", "dhchap-key", "dhchap-ctrlr-key",
                    "discovery-authentication", "no-traffic-keep-alive", "ana-state", "min-cntlid",
                    "max-cntlid"},
                   "configure what is served in the file or on the command line");
}

void declare_how(base::CommandLine& program, DaemonOptions& options) {
  program.section("How");
  program.size("in-capsule", "write data that may come with the command, a multiple of 16",
               options.service.in_capsule, {.most = kMaxInCapsule});
  engine::declare_options(program, options.service.engine);
  gateway::declare_options(program, options.service.engine.gateway);
  engine::declare_import_options(program, options.import);
}

// Checks that concern several options.
absl::Status check(DaemonOptions& options, SubsystemConfig& subsystem) {
  if (absl::Status status = check_in_capsule(options.service.in_capsule); !status.ok()) {
    return bad("--in-capsule: ", status.message());
  }
  if (!options.config_file.empty()) return absl::OkStatus();
  if (absl::Status status = gateway::complete(options.service.engine.gateway); !status.ok()) {
    return status;
  }
  options.config.engine.gateway = options.service.engine.gateway;
  // With a control socket, the configuration may be empty.
  options.config.may_be_empty = !options.service.engine.control.empty();
  if (options.config.may_be_empty && subsystem.nqn.empty() && subsystem.namespaces.empty()) {
    return complete(options.config);
  }
  if (subsystem.nqn.empty()) return bad("--subnqn is missing; see --help for an example");
  if (subsystem.namespaces.empty() && !options.config.may_be_empty) {
    return bad("--namespace is missing; for example --namespace ram:64MiB");
  }
  options.config.subsystems.push_back(std::move(subsystem));
  return complete(options.config);
}

// `options` has the values of the file, or the defaults.
absl::Status parse_onto(DaemonOptions& options, std::span<const std::string> arguments) {
  SubsystemConfig subsystem;
  base::CommandLine program("mrpool-nvmf-target",
                            "An NVMe over Fabrics target on RDMA, in userspace.");
  declare_served(program, options, subsystem);
  declare_how(program, options);
  program.notes(kNotes);
  program.examples(kExamples);
  if (absl::Status status = program.parse(arguments); !status.ok()) return status;
  options.answer = program.answer();
  return options.answer ? absl::OkStatus() : check(options, subsystem);
}

// Parses this daemon's own format, or imports a file of the kernel's target.
absl::StatusOr<Imported> understand(const std::string& text, const engine::ImportOptions& options,
                                    bool may_be_empty) {
  const auto parsed = base::parse_json_text(text);
  if (!parsed.ok()) return parsed.status();
  switch (engine::kind_of(*parsed)) {
    case engine::FileKind::kTargetcli:
      return bad("this is a file of targetcli, for iSCSI; use mrpool-iser-target");
    case engine::FileKind::kNvmetcli:
      return engine::settle(import_nvmetcli(text, options), options, complete);
    case engine::FileKind::kOwn:
      break;
  }
  auto config = parse_config(text, may_be_empty);
  if (!config.ok()) return config.status();
  return Imported{.config = *std::move(config), .notes = {}};
}

absl::StatusOr<Imported> read_config(const DaemonOptions& options) {
  const absl::StatusOr<std::string> text = storage::read_text(options.config_file);
  if (!text.ok()) return bad("--config: ", text.status().message());
  auto config = understand(*text, options.import, !options.service.engine.control.empty());
  if (!config.ok()) return bad(options.config_file, ": ", config.status().message());
  return config;
}

// Once the user that will read them is known.
absl::Status check_secrets(const DaemonOptions& options) {
  const Config& config = options.config;
  const bool any = std::ranges::any_of(
      config.subsystems, [](const SubsystemConfig& each) { return !each.proofs.empty(); });
  if (!any && config.keys.empty()) return absl::OkStatus();
  const auto reader = engine::later_user(options.service.engine.user);
  if (!reader.ok()) return reader.status();
  const std::string& file = options.config_file;
  absl::Status status;
  if (!file.empty()) status = check_exposure(file, options.config, *reader);
  status.Update(check_key_files(options.config, *reader));
  if (status.ok() || file.empty()) return status;
  return bad(file, ": ", status.message());
}

}  // namespace

absl::StatusOr<DaemonOptions> parse_arguments(std::span<const std::string> arguments) {
  DaemonOptions options;
  if (absl::Status status = parse_onto(options, arguments); !status.ok()) return status;
  if (options.answer) return options;
  if (options.config_file.empty()) {
    if (absl::Status status = check_secrets(options); !status.ok()) return status;
    return options;
  }
  auto read = read_config(options);
  if (!read.ok()) return read.status();
  // Parses the command line again after the file, because it takes precedence.
  options = DaemonOptions();
  options.service.engine = read->config.engine;
  options.service.in_capsule = read->config.in_capsule;
  if (absl::Status status = parse_onto(options, arguments); !status.ok()) return status;
  options.config = std::move(read->config);
  options.notes = std::move(read->notes);
  absl::Status gateway = gateway::complete(options.service.engine.gateway);
  options.config.engine.gateway = options.service.engine.gateway;
  gateway.Update(check_gateway(options.config));
  if (!gateway.ok()) return bad(options.config_file, ": ", gateway.message());
  if (absl::Status status = check_secrets(options); !status.ok()) return status;
  return options;
}

}  // namespace mrpool::nvmf_target
