// mrpool-iser: an iSER initiator for any device of the library.
#include <signal.h>

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"

namespace {

constexpr const char* kHelp =
    R"(mrpool-iser: an iSCSI initiator over RDMA (RFC 7145), in userspace

  mrpool-iser ls ADDRESS [--show-luns]           targets of a portal
  mrpool-iser inq ADDRESS --target IQN           what a unit says it is
  mrpool-iser read ADDRESS --target IQN          a unit, or a range of it, to a file or stdout
  mrpool-iser write ADDRESS --target IQN         a file or stdin to a unit
  mrpool-iser perf ADDRESS --target IQN          load with verification, as fio users expect it

ADDRESS is uiwarp://HOST:PORT or verbs://HOST:PORT. Each subcommand has a --help of its own.

  mrpool-iser ls uiwarp://127.0.0.1:3260
  mrpool-iser write uiwarp://127.0.0.1:3260 --target iqn.2026-11.org.example:disk --file image

exit status: 0 done, 1 an I/O failed or data was wrong, 2 the command line, 3 no connection
)";

struct Subcommand {
  std::string_view name;
  int (*run)(std::span<char* const> arguments);
};
constexpr Subcommand kSubcommands[] = {{"ls", mrpool::iser::ls},
                                       {"inq", mrpool::iser::inq},
                                       {"read", mrpool::iser::read},
                                       {"write", mrpool::iser::write},
                                       {"perf", mrpool::iser::perf}};

int run(std::span<char* const> arguments) {
  if (arguments.size() < 2) {
    std::fputs(kHelp, stderr);
    return mrpool::load::kExitUsage;
  }
  const std::string_view name = arguments[1];
  for (const Subcommand& subcommand : kSubcommands) {
    if (subcommand.name == name) return subcommand.run(arguments.subspan(2));
  }
  if (name == "--help" || name == "-h" || name == "help") {
    std::fputs(kHelp, stdout);
    return mrpool::load::kExitOk;
  }
  return mrpool::iser::fail(absl::InvalidArgumentError("unknown command '" + std::string(name) +
                                                       "'; there are ls, inq, read, write, perf"));
}

}  // namespace

int main(int argc, char** argv) {
  mrpool::load::hold_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);
  return mrpool::load::end_of_output("mrpool-iser", run({argv, size_t(argc)}));
}
