#include "examples/iser/target/options.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/json_text.h"
#include "examples/engine/listen.h"
#include "examples/engine/rate_limits.h"
#include "examples/iser/target/import.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/secret_files.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {
namespace {

constexpr const char* kNotes =
    R"(What follows a --target belongs to it. SIGHUP reads the file of --config again; a broken file is
refused whole. SIGINT and SIGTERM end the daemon in good order; the counters at the end show no MR
and no staging memory in use.

Exit status:
  0    ended in good order
  1    it could not serve, or something was still in use at the end
  2    the command line or the configuration is wrong
)";
constexpr const char* kExamples =
    R"(  $ mrpool-iser-target --listen uiwarp://127.0.0.1:3260 --target IQN --lun ram:64MiB
  $ mrpool-iser-target --config /etc/mrpool/iser.json --check-config
)";

// Parses this daemon's own format, or imports a file of the kernel's target.
absl::StatusOr<Imported> understand(const std::string& text, const engine::ImportOptions& options) {
  const auto parsed = base::parse_json_text(text);
  if (!parsed.ok()) return parsed.status();
  switch (engine::kind_of(*parsed)) {
    case engine::FileKind::kNvmetcli:
      return absl::InvalidArgumentError(
          "this is a file of nvmetcli, for NVMe; use mrpool-nvmf-target");
    case engine::FileKind::kTargetcli:
      return engine::settle(import_targetcli(text, options), options, complete);
    case engine::FileKind::kOwn:
      break;
  }
  absl::StatusOr<Config> config = parse_json(text);
  if (!config.ok()) return config.status();
  return Imported{.config = *std::move(config), .notes = {}, .imported = false};
}

absl::StatusOr<Imported> read_config(const Options& options) {
  const absl::StatusOr<std::string> text = storage::read_text(options.config_file);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", text.status().message()));
  }
  absl::StatusOr<Imported> config = understand(*text, options.import);
  absl::Status status = config.status();
  // The command line takes precedence.
  const std::string& user = options.config.engine.user;
  if (status.ok()) {
    status = read_secret_files(user.empty() ? config->config.engine.user : user, config->config);
  }
  if (status.ok()) return config;
  return absl::InvalidArgumentError(absl::StrCat(options.config_file, ": ", status.message()));
}

absl::Status twice() {
  return absl::InvalidArgumentError("is given more than once; leave all but one of them out");
}

// Sets an account; an error if it was set before.
absl::Status set_once(std::optional<iscsi::Credentials>& to, std::string_view text) {
  return to ? twice() : iscsi::parse_credentials(std::string(text), to.emplace());
}

base::CommandLine::Setter credentials(std::optional<iscsi::Credentials>& to) {
  return [&to](std::string_view text) {
    return iscsi::parse_credentials(std::string(text), to.emplace());
  };
}

// Options that apply to the preceding --target.
class TargetOptions {
 public:
  TargetOptions(base::CommandLine& program, Config& config) : program_(program), config_(config) {}

  void declare() {
    program_.section("Targets");
    program_.option(
        "target", "IQN", "a target's name; may be repeated", [this](std::string_view text) {
          config_.targets.emplace_back().name = iscsi::normal_iscsi_name(std::string(text));
          return absl::OkStatus();
        });
    program_.repeatable();
    program_.option(
        "lun", "STORAGE",
        absl::StrCat("may be repeated; [,lun=N] gives the LUN (default: the lowest that "
                     "is free), [,serial=TEXT], [,naa=HEX] and [,uuid=UUID] what "
                     "initiators know it by; ",
                     engine::kLimitsHelp, ":\n", storage::help()),
        of_target([](TargetConfig& target, std::string_view text) {
          return take_own_options(target.luns.emplace_back(std::string(text)));
        }));
    program_.repeatable();
    program_.option("alias", "TEXT", "a descriptive name",
                    of_target([](TargetConfig& target, std::string_view text) {
                      if (!target.alias.empty()) return twice();
                      target.alias = text;
                      return absl::OkStatus();
                    }));
    program_.repeatable();
    program_.secret("chap", "USER:SECRET",
                    "CHAP account of initiators; several listed initiators need one each",
                    of_target([](TargetConfig& target, std::string_view text) {
                      return set_once(target.authentication.incoming, text);
                    }));
    program_.repeatable();
    program_.secret("mutual-chap", "USER:SECRET",
                    "CHAP account of the target, if the initiator requests it",
                    of_target([](TargetConfig& target, std::string_view text) {
                      return set_once(target.authentication.outgoing, text);
                    }));
    program_.repeatable();
    program_.option(
        "initiator", "IQN", "an initiator that may log in; may be repeated (default: all)",
        of_target([](TargetConfig& target, std::string_view text) {
          if (!target.initiators) target.initiators.emplace();
          target.initiators->push_back(
              {.name = iscsi::normal_iscsi_name(std::string(text)), .authentication = {}});
          return absl::OkStatus();
        }));
    program_.repeatable();
    program_.secret("initiator-chap", "USER:SECRET", "CHAP account of the preceding --initiator",
                    of_initiator([](iscsi::Authentication& account, std::string_view text) {
                      return set_once(account.incoming, text);
                    }));
    program_.repeatable();
    program_.secret("initiator-mutual-chap", "USER:SECRET",
                    "CHAP account of the target for the preceding --initiator, if that requests it",
                    of_initiator([](iscsi::Authentication& account, std::string_view text) {
                      return set_once(account.outgoing, text);
                    }));
    program_.repeatable();
  }

 private:
  base::CommandLine::Setter of_target(
      std::function<absl::Status(TargetConfig&, std::string_view)> set) {
    return [this, set = std::move(set)](std::string_view text) -> absl::Status {
      if (config_.targets.empty()) {
        return absl::InvalidArgumentError("must follow its --target");
      }
      return set(config_.targets.back(), text);
    };
  }

  base::CommandLine::Setter of_initiator(
      std::function<absl::Status(iscsi::Authentication&, std::string_view)> set) {
    return of_target(
        [set = std::move(set)](TargetConfig& target, std::string_view text) -> absl::Status {
          if (!target.initiators) {
            return absl::InvalidArgumentError("must follow its --initiator");
          }
          return set(target.initiators->back().authentication, text);
        });
  }

  base::CommandLine& program_;
  Config& config_;
};

void declare_served(base::CommandLine& program, Options& options) {
  Config& config = options.config;
  program.section("What is served");
  program.option("listen", "ADDRESS", engine::listen_help(iscsi::kDefaultPort),
                 [&config](std::string_view text) {
                   config.listen.emplace_back(text);
                   return Address::parse(text).status();
                 });
  program.repeatable();
  program.text("config", "FILE", "all of this, as JSON, or a file of targetcli; see docs",
               options.config_file);
  program.flag("check-config", "print what would be served, open nothing, and exit",
               options.check_config);
  program.flag("print-config", "print it as a file for --config, with secrets, and exit",
               options.print_config);
  program.excludes("config",
                   {"listen", "target", "lun", "alias", "chap", "mutual-chap", "initiator",
                    "initiator-chap", "initiator-mutual-chap"},
                   "configure what is served in the file or on the command line");
  program.secret("discovery-chap", "USER:SECRET",
                 "CHAP account of initiators in discovery sessions\n(default: that of a target "
                 "with this initiator)",
                 credentials(config.discovery.incoming));
  program.secret("discovery-mutual-chap", "USER:SECRET",
                 "CHAP account of the target in discovery sessions, if requested",
                 credentials(config.discovery.outgoing));
  program.flag("open-discovery",
               "admit discovery sessions without CHAP even if a target requires it",
               config.open_discovery);
}

void declare_how(base::CommandLine& program, Options& options) {
  Config& config = options.config;
  program.section("How");
  program.choice<uint32_t>("block-size", "of storage without ,bs=", config.block_size,
                           {{"512", 512}, {"4096", 4096}});
  program.flag("no-initial-r2t", "let initiators send unsolicited Data-Out (InitialR2T=No)",
               config.initial_r2t, false);
  program.flag("no-immediate-data", "negotiate ImmediateData=No", config.immediate_data, false);
  engine::declare_options(program, config.engine);
  engine::declare_import_options(program, options.import);
}

// `options` has the values of the file, or the defaults.
absl::Status parse_onto(Options& options, std::span<const std::string> arguments) {
  base::CommandLine program("mrpool-iser-target",
                            "An iSCSI target over RDMA (RFC 7145), in userspace.");
  declare_served(program, options);
  TargetOptions targets(program, options.config);
  targets.declare();
  declare_how(program, options);
  program.notes(kNotes);
  program.examples(kExamples);
  absl::Status status = program.parse(arguments);
  options.answer = program.answer();
  return status;
}

}  // namespace

absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments) {
  Options options;
  if (absl::Status status = parse_onto(options, arguments); !status.ok()) return status;
  if (options.answer) return options;
  if (!options.config_file.empty()) {
    absl::StatusOr<Imported> read = read_config(options);
    if (!read.ok()) return read.status();
    options = Options{};
    options.config = std::move(read->config);
    options.imported = read->imported;
    options.notes = std::move(read->notes);
    if (absl::Status status = parse_onto(options, arguments); !status.ok()) return status;
  }
  absl::Status status = complete(options.config);
  if (options.config.engine.gateway.any()) {
    status.Update(absl::UnimplementedError(
        "\"gateway_group\": groups of gateways serve NVMe only, by mrpool-nvmf-target; leave it "
        "out, "
        "and set the states of \"alua_state\" by hand or by a cluster manager"));
  }
  if (status.ok()) return options;
  if (options.config_file.empty()) return status;
  return absl::InvalidArgumentError(absl::StrCat(options.config_file, ": ", status.message()));
}

}  // namespace mrpool::iser_target
