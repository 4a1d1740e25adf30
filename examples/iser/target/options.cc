#include "examples/iser/target/options.h"

#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/storage.h"

namespace mrpool::iser_target {

const char* const kHelp =
    R"(mrpool-iser-target: an iSCSI target over RDMA (RFC 7145), in userspace

  mrpool-iser-target --listen uiwarp://127.0.0.1:3260 \
      --target iqn.2026-11.org.example:disk --lun ram:64MiB

Portals (several may be given):
  --listen URI            uiwarp://HOST:PORT or verbs://HOST:PORT; port 0 picks a free one

Targets; what follows a --target belongs to it, and there may be several:
  --target IQN            its name
  --lun SPEC              LUN 0, 1, ...: ram:64MiB, null:1TiB, file:PATH[,direct][,ro][,size=1GiB]
  --alias TEXT            a name for people
  --chap USER:SECRET      initiators must prove this (secrets have 12 to 255 bytes)
  --mutual-chap USER:SECRET  the target proves this when asked
  --initiator IQN         only these may log in (several); without any, everybody

The whole daemon:
  --config FILE           JSON instead of --target; docs/iser_target.md has an example;
                          SIGHUP reads it again, a broken file is refused whole
  --state-dir DIR         persistent reservations with APTPL are kept here
  --discovery-chap USER:SECRET, --discovery-mutual-chap USER:SECRET
  --block-size N          512 (default) or 4096
  --staging SIZE          memory for data under way, 32MiB by default; commands wait when it is full
  --mrs N                 entries of the MR pool, 512 by default; transfers wait when it is empty
  --max-connections N     more are refused, 256 by default; each takes about 1 MB
  --no-initial-r2t        lets initiators send unsolicited Data-Out (InitialR2T=No)
  --no-immediate-data     negotiates ImmediateData=No
  --force-mr              registers local memory even where the device does not need it
  --spin MICROSECONDS     polls that long before sleeping, 50 by default
  --help

SIGINT or SIGTERM ends it in good order; the counters at the end show no MR in use.
)";

namespace {

absl::StatusOr<Config> read_config(const std::string& path) {
  const absl::StatusOr<std::string> text = storage::read_text(path);
  if (!text.ok()) return text.status();
  return parse_json(*text);
}

class Parser {
 public:
  explicit Parser(Options& options) : options_(options) {
    Config& config = options.config;
    flag("--help", [this] { options_.help = true; });
    flag("-h", [this] { options_.help = true; });
    flag("--no-initial-r2t", [&config] { config.initial_r2t = false; });
    flag("--no-immediate-data", [&config] { config.immediate_data = false; });
    flag("--force-mr", [&config] { config.force_mr = true; });
    value("--listen", [&config](const std::string& text) { return add(config.listen, text); });
    value("--target", [&config](const std::string& text) {
      config.targets.emplace_back().name = iscsi::normal_iscsi_name(text);
      return absl::OkStatus();
    });
    of_target("--lun",
              [](TargetConfig& target, const std::string& text) { return add(target.luns, text); });
    of_target("--initiator", [](TargetConfig& target, const std::string& text) {
      return add(target.initiators, iscsi::normal_iscsi_name(text));
    });
    of_target("--alias", [](TargetConfig& target, const std::string& text) {
      target.alias = text;
      return absl::OkStatus();
    });
    of_target("--chap", [](TargetConfig& target, const std::string& text) {
      return iscsi::parse_credentials(text, target.authentication.incoming.emplace());
    });
    of_target("--mutual-chap", [](TargetConfig& target, const std::string& text) {
      return iscsi::parse_credentials(text, target.authentication.outgoing.emplace());
    });
    value("--discovery-chap", [&config](const std::string& text) {
      return iscsi::parse_credentials(text, config.discovery.incoming.emplace());
    });
    value("--discovery-mutual-chap", [&config](const std::string& text) {
      return iscsi::parse_credentials(text, config.discovery.outgoing.emplace());
    });
    value("--state-dir", [&config](const std::string& text) {
      config.state_dir = text;
      return absl::OkStatus();
    });
    value("--staging", [&config](const std::string& text) {
      const absl::StatusOr<uint64_t> bytes = storage::parse_size(text);
      if (bytes.ok()) config.staging = *bytes;
      return bytes.status();
    });
    number("--block-size", config.block_size);
    number("--mrs", config.mrs);
    number("--max-connections", config.max_connections);
    value("--spin", [this](const std::string& text) {
      uint32_t microseconds = 0;
      if (absl::Status status = parse(text, microseconds, 0); !status.ok()) return status;
      options_.spin = std::chrono::microseconds(microseconds);
      return absl::OkStatus();
    });
    value("--config", [this](const std::string& text) {
      absl::StatusOr<Config> read = read_config(text);
      if (!read.ok()) return read.status();
      // Portals may come from both sides: a file is shared, a port often is not.
      std::vector<std::string> listen = std::move(options_.config.listen);
      options_.config = *std::move(read);
      for (std::string& uri : options_.config.listen) listen.push_back(std::move(uri));
      options_.config.listen = std::move(listen);
      return absl::OkStatus();
    });
  }

  absl::Status run(std::span<const std::string> arguments) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      std::string name = arguments[i];
      std::optional<std::string> text;
      if (const size_t equals = name.find('='); equals != std::string::npos) {
        text = name.substr(equals + 1);
        name.resize(equals);
      }
      if (const auto found = flags_.find(name); found != flags_.end()) {
        if (text) return wrong(name, "takes no value");
        found->second();
        continue;
      }
      const auto found = values_.find(name);
      if (found == values_.end()) return wrong(name, "is not an option; see --help");
      if (!text) {
        if (++i == arguments.size()) return wrong(name, "needs a value");
        text = arguments[i];
      }
      if (absl::Status status = found->second(*text); !status.ok()) {
        // A secret is not shown, not even a wrong one: logs are read by many.
        const bool secret = name.ends_with("chap");
        return wrong(secret ? name : absl::StrCat(name, " ", *text), std::string(status.message()));
      }
    }
    return absl::OkStatus();
  }

 private:
  using Value = std::function<absl::Status(const std::string&)>;

  static absl::Status wrong(const std::string& what, const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", why));
  }
  static absl::Status add(std::vector<std::string>& list, const std::string& text) {
    list.push_back(text);
    return absl::OkStatus();
  }
  static absl::Status parse(const std::string& text, uint32_t& to, uint32_t least) {
    const std::optional<uint64_t> number = iscsi::parse_number(text);
    if (!number || *number < least || *number > 0xffffffff) {
      return absl::InvalidArgumentError(absl::StrCat("not a whole number of at least ", least));
    }
    to = uint32_t(*number);
    return absl::OkStatus();
  }
  void flag(const std::string& name, std::function<void()> set) { flags_[name] = std::move(set); }
  void value(const std::string& name, Value set) { values_[name] = std::move(set); }
  void number(const std::string& name, uint32_t& to) {
    value(name, [&to](const std::string& text) { return parse(text, to, 1); });
  }
  void of_target(const std::string& name,
                 std::function<absl::Status(TargetConfig&, const std::string&)> set) {
    value(name, [this, set = std::move(set)](const std::string& text) -> absl::Status {
      if (options_.config.targets.empty()) {
        return absl::InvalidArgumentError("belongs behind the --target it is for");
      }
      return set(options_.config.targets.back(), text);
    });
  }

  Options& options_;
  std::map<std::string, std::function<void()>> flags_;
  std::map<std::string, Value> values_;
};

}  // namespace

absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments) {
  Options options;
  Parser parser(options);
  if (absl::Status status = parser.run(arguments); !status.ok()) return status;
  if (options.help) return options;
  if (absl::Status status = validate(options.config); !status.ok()) return status;
  return options;
}

}  // namespace mrpool::iser_target
