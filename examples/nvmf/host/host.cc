#include "examples/nvmf/host/host.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/printable.h"
#include "examples/base/secret_file.h"
#include "examples/load/options.h"

namespace mrpool::nvme::host {
namespace {

constexpr base::DurationRange kTimeouts{.least = std::chrono::milliseconds(1),
                                        .most = std::chrono::hours(24)};

// Where a secret is. The secret itself would be seen by every user of this machine.
base::CommandLine::Setter place_of(std::string& to) {
  return [&to](std::string_view text) {
    if (auth::looks_like_key(text)) {
      return absl::InvalidArgumentError(
          "a secret on the command line is seen by every user of this machine; write it to a file "
          "with mode 0600 and give its path");
    }
    if (text.empty()) {
      return absl::InvalidArgumentError("is empty; give the path of a file, or credential:NAME");
    }
    to = text;
    return absl::OkStatus();
  };
}

absl::Status read_key(const char* option, const std::string& place, auth::DhchapKey& to) {
  if (place.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> line = base::read_secret(place);
  if (!line.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": ", line.status().message()));
  }
  auto key = auth::parse_key(*line);
  auth::wipe(*line);
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": what ", place, " has ", key.status().message()));
  }
  to = *std::move(key);
  return absl::OkStatus();
}

absl::Status read_secrets(const HostOptions& options, SessionOptions& session) {
  if (options.dhchap_secret.empty()) {
    const char* const useless = !options.dhchap_ctrl_secret.empty()  ? "--dhchap-ctrl-secret"
                                : options.reauthenticate.count() > 0 ? "--dhchap-reauth"
                                                                     : nullptr;
    if (useless == nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        useless, " needs --dhchap-secret: a target authenticates itself only to a host that does"));
  }
  auto secrets = std::make_shared<auth::HostSecrets>();
  absl::Status status = read_key("--dhchap-secret", options.dhchap_secret, secrets->key);
  status.Update(
      read_key("--dhchap-ctrl-secret", options.dhchap_ctrl_secret, secrets->controller_key));
  session.secrets = std::move(secrets);
  session.reauthenticate = options.reauthenticate;
  return status;
}

// Of all paths.
absl::StatusOr<std::vector<Address>> addresses_of(const HostOptions& options) {
  std::vector<Address> all;
  std::vector<std::string> texts = options.paths;
  texts.insert(texts.begin(), options.address);
  for (const std::string& text : texts) {
    auto address = Address::parse(text);
    if (!address.ok()) return address.status();
    if (address->port == 0) address->port = kDefaultPort;
    if (!all.empty() && address->transport != all.front().transport) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--path ", text, ": all paths have one transport; write ", all.front().transport, "://"));
    }
    all.push_back(*std::move(address));
  }
  return all;
}

}  // namespace

void add_options(base::CommandLine& command, HostOptions& options, HostOptionSet set) {
  command.operand("ADDRESS", "where the target listens: uiwarp://HOST:PORT or verbs://HOST:PORT",
                  "uiwarp://127.0.0.1:4420", options.address);
  command.section("Connection");
  if (set != HostOptionSet::kAddressOnly) {
    command.required("--subnqn NQN");
    command.text("subnqn", "NQN", "the subsystem to connect to", options.subnqn);
  }
  if (set == HostOptionSet::kNamespace || set == HostOptionSet::kLoad) {
    command.count("nsid", "the namespace", options.nsid, {.least = 1});
  }
  command.text("host-nqn", "NQN",
               "NQN of this host (default: /etc/nvme/hostnqn, else a random UUID)",
               options.host_nqn);
  command.secret("dhchap-secret", "FILE",
                 "file with the secret of this host (DH-HMAC-CHAP); or credential:NAME",
                 place_of(options.dhchap_secret));
  command.secret("dhchap-ctrl-secret", "FILE",
                 "file with the secret that the target must prove; or credential:NAME",
                 place_of(options.dhchap_ctrl_secret));
  command.duration("connect-timeout", "for one connection", options.connect_timeout, kTimeouts);
  command.duration("timeout", "for one command", options.timeout, kTimeouts);
  if (set == HostOptionSet::kAddressOnly || set == HostOptionSet::kSubsystem) return;
  command.duration("keep-alive", "keep-alive time-out; 0 switches it off", options.keep_alive,
                   {.most = kTimeouts.most});
  command.flag("reconnect", "after a lost connection, reconnect and repeat outstanding commands",
               options.reconnect);
  command.duration("reconnect-delay", "between attempts", options.reconnect_delay,
                   {.most = kTimeouts.most});
  command.duration("ctrl-loss-tmo", "give up reconnecting after this long", options.loss_timeout);
  if (set != HostOptionSet::kLoad) return;
  command.option(
      "path", "ADDRESS",
      "another path to the namespace, by the same transport; may be repeated. A command\n"
      "that fails because of its path is sent on another one",
      [&options](std::string_view text) {
        options.paths.emplace_back(text);
        return Address::parse(text).status();
      });
  command.repeatable();
  command.choice<PathPolicy>(
      "path-policy", "how commands are divided among the best paths (ANA)", options.path_policy,
      {{"round-robin", PathPolicy::kRoundRobin}, {"queue-depth", PathPolicy::kQueueDepth}});
  command.duration("dhchap-reauth", "authenticate again after this time, on each queue; 0: never",
                   options.reauthenticate, {.most = kTimeouts.most});
  command.flag("spin", "poll without ever sleeping: least latency, a core per job", options.spin);
}

absl::StatusOr<std::unique_ptr<Host>> Host::create(const HostOptions& options, uint32_t queues,
                                                   uint16_t depth) {
  const auto addresses = addresses_of(options);
  if (!addresses.ok()) return addresses.status();
  if (options.subnqn.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--subnqn is missing; `mrpool-nvmf discover ",
                                                   options.address,
                                                   "` lists the subsystems there"));
  }
  if (!valid_nqn(options.subnqn)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--subnqn '", options.subnqn,
                     "' is not an NQN; write one as nqn.2026-11.org.example:disk"));
  }
  HostIdentity identity = default_identity();
  if (!options.host_nqn.empty()) {
    auto given = identity_of(options.host_nqn);
    if (!given.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--host-nqn: ", given.status().message()));
    }
    identity = *std::move(given);
  }

  std::unique_ptr<Host> host(new Host);
  host->options_ = options;
  auto reactor = Reactor::create();
  if (!reactor.ok()) return reactor.status();
  host->reactor_ = *std::move(reactor);
  auto device = Device::open(addresses->front());
  if (!device.ok()) return device.status();
  host->device_ = *std::move(device);
  auto pd = host->device_->alloc_pd();
  if (!pd.ok()) return pd.status();
  host->pd_ = *std::move(pd);

  SessionOptions session;
  session.subnqn = options.subnqn;
  session.host = identity;
  session.depth = depth;
  session.keep_alive = options.keep_alive;
  session.connect_timeout = options.connect_timeout;
  session.command_timeout = options.timeout;
  // A lost path of several comes back.
  session.reconnect = options.reconnect || addresses->size() > 1;
  session.reconnect_delay = options.reconnect_delay;
  session.loss_timeout = options.loss_timeout;
  if (absl::Status status = read_secrets(options, session); !status.ok()) return status;
  if (absl::Status status = host->make_paths(session, *addresses, queues); !status.ok()) {
    return status;
  }
  host->interrupt_.emplace(*host->reactor_,
                           [self = host.get()](load::Interrupt::Step step) { self->tell(step); });

  signal(SIGPIPE, SIG_IGN);
  return host;
}

absl::Status Host::make_paths(const SessionOptions& session, const std::vector<Address>& addresses,
                              uint32_t queues) {
  const auto of_path = uint32_t(addresses.size());
  const uint32_t mrs = session_mrs(session, queues) * of_path;
  absl::Status enough = load::check_mrs(session.depth, queues * of_path, mrs, device_->caps());
  if (!enough.ok()) return enough;
  // Reads of the controller's need remote read, its writes remote write; no command has both.
  auto pool = MrPool::create(
      *pd_, {.count = mrs,
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) return pool.status();
  pool_ = *std::move(pool);
  for (const Address& address : addresses) {
    SessionOptions one = session;
    one.address = address;
    auto path = Path::create(*device_, *pd_, *pool_, *reactor_, one, options_.nsid,
                             addresses.size() > 1, *this);
    if (!path.ok()) return path.status();
    paths_.push_back(*std::move(path));
  }
  return absl::OkStatus();
}

Host::~Host() = default;

ReactorOptions Host::job_reactor() const {
  ReactorOptions reactor;
  if (options_.spin) reactor.spin = Nanoseconds::max();
  return reactor;
}

void Host::tell(load::Interrupt::Step step) {
  if (on_interrupt_) on_interrupt_(step);
  if (!on_interrupt_ || step == load::Interrupt::Step::kGiveUp) {
    for (const auto& path : paths_) path->session().give_up("interrupted");
  }
}

void Host::on_event(const std::string& text) {
  std::fprintf(stderr, "mrpool-nvmf: %s\n", base::printable(text).c_str());
}

void Host::on_over(const absl::Status& why) {
  const bool all = std::ranges::all_of(paths_, [](const auto& path) { return path->over(); });
  if (all && over_call_) over_call_(why);
}

}  // namespace mrpool::nvme::host
