// mrpool-iser: an iSER initiator for any device of the library.
#include <signal.h>

#include <cstdio>
#include <string_view>

#include "examples/iser/client.h"

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

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::string_view name = argc > 1 ? argv[1] : "";
  for (const Subcommand& subcommand : kSubcommands) {
    if (subcommand.name == name) return subcommand.run({argv + 2, argv + argc});
  }
  const bool asked = name == "--help" || name == "-h";
  std::fputs(kHelp, asked ? stdout : stderr);
  return asked ? 0 : 1;
}
