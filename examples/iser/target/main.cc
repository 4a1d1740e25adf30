// mrpool-iser-target: the daemon around Server: one reactor, signals, and the figures at the end.
#include <signal.h>

#include <boost/asio/signal_set.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/base/exit_status.h"
#include "examples/base/peer_log.h"
#include "examples/iser/target/options.h"
#include "examples/iser/target/server.h"
#include "examples/iser/target/site.h"
#include "mrpool/asio.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {
namespace {

constexpr const char* kProgram = "mrpool-iser-target";

int fail(const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", kProgram, std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;  // 2: what the user wrote, 1: everything else
}

using Number = unsigned long long;

void say_what_is_served(Site& site) {
  for (const auto& target : site.targets()) {
    for (const auto& [lun, unit] : target->units()->units) {
      const scsi::UnitFacts& facts = unit->logical.facts();
      std::printf("serving %s LUN %u: %s, %llu blocks of %u bytes\n", target->name().c_str(), lun,
                  unit->volume->spec().c_str(), Number(facts.blocks), facts.block_size);
    }
  }
  std::fflush(stdout);
}

// False when an MR or staging memory was not given back.
bool say_figures(const Server& server, const Totals& counters) {
  std::printf("connections %llu, logins %llu (refused %llu), commands %llu\n",
              Number(counters.connections), Number(counters.logins),
              Number(counters.refused_logins), Number(counters.commands));
  std::printf("reads %llu of %llu bytes, writes %llu of %llu bytes\n", Number(counters.reads),
              Number(counters.bytes_read), Number(counters.writes), Number(counters.bytes_written));
  std::printf("check conditions %llu, aborted %llu, rejects %llu, protocol errors %llu\n",
              Number(counters.check_conditions), Number(counters.aborted), Number(counters.rejects),
              Number(counters.protocol_errors));
  const size_t staging = server.staging_in_use();
  const MrPoolStats pool = server.pool_stats();
  std::printf("staging chunks in use: %zu\n", staging);
  std::printf(
      "MRs in use: %u of %u (high water %u, gets %llu, exhaustions %llu, waits %llu, "
      "repairs %llu)\n",
      pool.in_use, pool.size, pool.high_water, Number(pool.gets), Number(pool.exhaustions),
      Number(pool.waits), Number(pool.repairs));
  std::fflush(stdout);
  return staging == 0 && pool.in_use == 0;
}

// Targets, units, secrets and access lists as the file has them now.
void reload(std::span<const std::string> arguments, Site& site) {
  const absl::StatusOr<Options> options = parse_arguments(arguments);
  const absl::Status status = options.ok() ? site.apply(options->config) : options.status();
  if (!status.ok()) {
    std::fprintf(stderr, "reload refused, all stays as it was: %s\n",
                 std::string(status.message()).c_str());
    return;
  }
  std::printf("reloaded\n");
  say_what_is_served(site);
}

// --check-config: what run() would serve, as far as it can be said without opening anything.
int check(const Config& config) {
  for (const TargetConfig& target : config.targets) {
    for (const std::string& lun : target.luns) {
      const absl::Status status = storage::check(lun, {.block_size = config.block_size});
      if (!status.ok()) return fail(status);
    }
  }
  for (const std::string& address : config.listen) {
    std::printf("would listen on %s\n", address.c_str());
  }
  for (const TargetConfig& target : config.targets) {
    for (size_t lun = 0; lun < target.luns.size(); ++lun) {
      std::printf("would serve %s LUN %zu: %s, blocks of %u bytes\n", target.name.c_str(), lun,
                  target.luns[lun].c_str(),
                  storage::block_size_of(target.luns[lun], config.block_size));
    }
  }
  return base::end_of_output(kProgram, base::kExitOk);
}

int run(const Options& options, std::span<const std::string> arguments) {
  if (options.check_config) return check(options.config);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is that command's error, not our end
  absl::StatusOr<std::unique_ptr<Reactor>> reactor = Reactor::create({.spin = options.spin});
  if (!reactor.ok()) return fail(reactor.status());
  absl::StatusOr<std::unique_ptr<Site>> site = Site::create(options.config, {reactor->get()});
  if (!site.ok()) return fail(site.status());
  (*site)->log = daemon::say_of_peers;
  std::optional<boost::asio::signal_set> signals;
  try {
    signals.emplace(io_context(**reactor), SIGINT, SIGTERM, SIGHUP);
  } catch (const boost::system::system_error& error) {  // no descriptors left for Asio's pipe
    return fail(absl::ResourceExhaustedError("no signal handling: " + error.code().message()));
  }
  bool clean = false;
  {
    Server server(**site, **reactor, options.config);
    for (const std::string& uri : options.config.listen) {
      const absl::StatusOr<std::string> address = server.listen(uri);
      if (!address.ok()) return fail(address.status());
      std::printf("listening on %s\n", address->c_str());
    }
    say_what_is_served(**site);

    const std::function<void()> wait = [&] {
      signals->async_wait([&](const boost::system::error_code& error, int signal) {
        if (error) return;
        if (signal == SIGHUP) {
          reload(arguments, **site);
          return wait();
        }
        std::printf("stopping\n");
        std::fflush(stdout);
        server.stop([&] { (*reactor)->stop(); });
      });
    };
    wait();
    (*reactor)->run();
    clean = say_figures(server, (*site)->totals());
  }
  return clean ? 0 : 1;
}

}  // namespace
}  // namespace mrpool::iser_target

int main(int argc, char** argv) {
  mrpool::base::hold_standard_streams();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = mrpool::iser_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::iser_target::fail(options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(mrpool::iser_target::kProgram, 0);
  }
  return mrpool::iser_target::run(*options, arguments);
}
