#include "examples/nvmf/target/options.h"

#include <charconv>
#include <optional>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/limits.h"
#include "examples/storage/descriptor.h"

namespace mrpool::nvmf_target {

const char kHelp[] = R"(mrpool-nvmf-target: an NVMe over Fabrics target on RDMA

  mrpool-nvmf-target --listen ADDRESS --subnqn NQN --namespace STORAGE [options]
  mrpool-nvmf-target --config FILE [options]

What is served
  --listen ADDRESS        uiwarp://127.0.0.1:4420 or verbs://10.0.0.1:4420; may be repeated
  --subnqn NQN            the subsystem's name
  --namespace STORAGE     ram:64MiB | null:1TiB | file:PATH[,direct][,ro][,size=10GiB], each with
                          [,bs=512|4096]; may be repeated, namespace ids count from 1
  --host-nqn NQN          a host that may connect; may be repeated; any host when absent
  --config FILE           all of this, for several subsystems, as JSON (docs/nvmf_target.md);
                          SIGHUP reads it again, a broken file is refused whole

How
  --threads N             reactors, one thread each (1)
  --spin MICROSECONDS     how long to poll before sleeping (50); "forever" never sleeps
  --in-capsule BYTES      write data that may come with the command (4096)
  --buffers MIB           staging memory of each thread (32)
  --mrs N                 entries of each device's MR pool (1024)
  --force-mr              register local memory for every transfer, needed or not
  --strict-ordering       switch relaxed ordering off
  --max-connections N     of each thread (2048)
  --stall-timeout SECONDS drop a connection whose transfers make no progress for that long (15)
  --no-traffic-keep-alive only Keep Alive commands keep an association alive
  --verbose               say why connections end

Examples
  mrpool-nvmf-target --listen uiwarp://127.0.0.1:4420 \
      --subnqn nqn.2024-01.org.example:disk1 --namespace ram:64MiB
  nvme connect -t rdma -a 10.77.0.1 -s 4420 -n nqn.2024-01.org.example:disk1
)";

namespace {

absl::Status bad(std::string_view option, std::string_view value, std::string_view mend) {
  const auto v = [](std::string_view s) { return absl::string_view(s.data(), s.size()); };
  return absl::InvalidArgumentError(
      absl::StrCat(v(option), " \"", v(value), "\": ", v(mend), "; see --help"));
}

absl::Status number(std::string_view option, std::string_view text, uint64_t least, uint64_t most,
                    uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < least || out > most) {
    return bad(option, text,
               std::string("write a whole number from ") + std::to_string(least) + " to " +
                   std::to_string(most));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> read_config(const std::string& path) {
  const absl::StatusOr<std::string> text = storage::read_text(path);
  if (!text.ok()) return text.status();
  auto config = parse_config(*text);
  if (!config.ok()) {
    return absl::Status(config.status().code(),
                        absl::StrCat(path, ": ", config.status().message()));
  }
  return config;
}

absl::StatusOr<DaemonOptions> parse_arguments(std::span<const std::string> arguments) {
  DaemonOptions options;
  SubsystemConfig subsystem;
  bool simple = false;  // --subnqn and its kind were used
  bool traffic_keep_alive = true;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    std::optional<std::string> inline_value;
    if (const size_t equals = name.find('='); name.starts_with("--") && equals != name.npos) {
      inline_value = name.substr(equals + 1);
      name.resize(equals);
    }
    // Options without a value.
    if (!inline_value.has_value()) {
      if (name == "--help" || name == "-h") {
        options.help = true;
        return options;
      }
      if (name == "--force-mr") {
        options.service.device.force_mr = true;
        continue;
      }
      if (name == "--strict-ordering") {
        options.service.device.relaxed_ordering = false;
        continue;
      }
      if (name == "--no-traffic-keep-alive") {
        traffic_keep_alive = false;
        continue;
      }
      if (name == "--verbose") {
        options.service.worker.verbose = true;
        continue;
      }
    }
    static constexpr std::string_view kWithValue[] = {
        "--listen",  "--subnqn",          "--namespace",     "--host-nqn",
        "--config",  "--threads",         "--in-capsule",    "--spin",
        "--buffers", "--max-connections", "--stall-timeout", "--mrs"};
    if (std::find(std::begin(kWithValue), std::end(kWithValue), name) == std::end(kWithValue)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", arguments[i], "\" is no option; see --help"));
    }
    if (!inline_value.has_value() && i + 1 == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value; see --help"));
    }
    const std::string value = inline_value.has_value() ? *inline_value : arguments[++i];
    uint64_t n = 0;
    absl::Status status;
    if (name == "--listen") {
      options.config.listen.push_back(value);
    } else if (name == "--subnqn") {
      if (!subsystem.nqn.empty()) {
        return bad(name, value, "one subsystem on the command line; use --config for several");
      }
      subsystem.nqn = value;
      simple = true;
    } else if (name == "--namespace") {
      NamespaceConfig ns;
      ns.storage = value;
      subsystem.namespaces.push_back(std::move(ns));
      simple = true;
    } else if (name == "--host-nqn") {
      if (!subsystem.hosts.has_value()) subsystem.hosts.emplace();
      subsystem.hosts->insert(value);
      simple = true;
    } else if (name == "--config") {
      options.config_file = value;
    } else if (name == "--threads") {
      status = number(name, value, 1, 256, n);
      options.threads = uint32_t(n);
    } else if (name == "--spin") {
      if (value == "forever") {
        options.spin = Nanoseconds::max();
      } else {
        status = number(name, value, 0, 1'000'000, n);
        options.spin = std::chrono::microseconds(n);
      }
    } else if (name == "--in-capsule") {
      status = number(name, value, 0, kMaxInCapsule, n);
      if (status.ok() && n % 16 != 0) status = bad(name, value, "write a multiple of 16");
      options.service.worker.in_capsule = uint32_t(n);
    } else if (name == "--buffers") {
      // Compare of the longest transfer takes two of them at once.
      status = number(name, value, 2 * kMaxTransfer >> 20, 8191, n);
      options.service.worker.staging_bytes = n << 20;
    } else if (name == "--mrs") {
      status = number(name, value, 1, 1 << 20, n);
      options.service.device.mrs = uint32_t(n);
    } else if (name == "--max-connections") {
      status = number(name, value, 1, 65536, n);
      options.service.worker.max_queues = uint32_t(n);
    } else if (name == "--stall-timeout") {
      status = number(name, value, 1, 3600, n);
      options.service.worker.stall_timeout = std::chrono::seconds(n);
    }
    if (!status.ok()) return status;
  }
  options.service.workers = options.threads;
  if (!options.config_file.empty()) {
    if (!traffic_keep_alive) {
      return absl::InvalidArgumentError(
          "--no-traffic-keep-alive is for the subsystem of the command line; write "
          "\"traffic_based_keep_alive\": false into the file of --config");
    }
    if (simple || !options.config.listen.empty()) {
      return absl::InvalidArgumentError(
          "--config takes the place of --listen, --subnqn, --namespace and --host-nqn; put them "
          "into the file");
    }
    return options;
  }
  subsystem.traffic_keep_alive = traffic_keep_alive;
  if (subsystem.nqn.empty()) {
    return absl::InvalidArgumentError("--subnqn is missing; see --help for an example");
  }
  if (subsystem.namespaces.empty()) {
    return absl::InvalidArgumentError("--namespace is missing; for example --namespace ram:64MiB");
  }
  options.config.subsystems.push_back(std::move(subsystem));
  if (absl::Status status = complete(options.config); !status.ok()) return status;
  return options;
}

}  // namespace mrpool::nvmf_target
