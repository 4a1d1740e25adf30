// mrpool-nvmf: an NVMe-oF/RDMA host in userspace.
#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "examples/nvmf/host/commands.h"

namespace mrpool::nvme::host {
namespace {

constexpr const char* kHelp = R"(usage: mrpool-nvmf COMMAND ADDRESS [options]

  discover   list the subsystems a target offers
  identify   show a controller and its namespaces
  read       copy a range of a namespace to a file or stdout
  write      copy a file or stdin to a range of a namespace
  perf       generate load, verify it, and report as fio does

ADDRESS is uiwarp://HOST:PORT (RDMA in userspace over TCP) or verbs://HOST:PORT (an RDMA device).
`mrpool-nvmf COMMAND --help` lists a command's options.

  mrpool-nvmf discover uiwarp://127.0.0.1:4420
  mrpool-nvmf write uiwarp://127.0.0.1:4420 --subnqn NQN --input disk.img
  mrpool-nvmf perf uiwarp://127.0.0.1:4420 --subnqn NQN --rw randrw --bs 4k --iodepth 32 \
    --runtime 5 --verify crc32c

exit status: 0 done, 1 an I/O failed or data was wrong, 2 the command line, 3 no connection,
130 interrupted
)";

}  // namespace

int fail(const absl::Status& status) { return load::fail("mrpool-nvmf", status); }

int main(std::span<char* const> arguments) {
  struct Command {
    std::string_view name;
    int (*run)(std::span<char* const>);
  };
  static constexpr Command kCommands[] = {{"discover", discover},
                                          {"identify", identify},
                                          {"read", read},
                                          {"write", write},
                                          {"perf", perf}};
  if (arguments.size() < 2) {
    std::fputs(kHelp, stderr);
    return kExitUsage;
  }
  const std::string_view name = arguments[1];
  if (name == "--help" || name == "-h" || name == "help") {
    std::fputs(kHelp, stdout);
    return kExitOk;
  }
  const auto* command = std::ranges::find(kCommands, name, &Command::name);
  if (command == std::end(kCommands)) {
    return fail(absl::InvalidArgumentError("unknown command '" + std::string(name) +
                                           "'; there are discover, identify, read, write, perf"));
  }
  return command->run(arguments.subspan(2));
}

}  // namespace mrpool::nvme::host

int main(int argc, char** argv) {
  mrpool::load::hold_standard_streams();
  return mrpool::load::end_of_output("mrpool-nvmf", mrpool::nvme::host::main({argv, size_t(argc)}));
}
