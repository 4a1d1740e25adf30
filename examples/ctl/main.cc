// mrpool-ctl: shows and changes what a running daemon serves.
#include <string>
#include <vector>

#include "examples/base/command_line.h"
#include "examples/base/exit_status.h"
#include "examples/ctl/commands.h"

namespace mrpool::ctl {
namespace {

constexpr const char* kNotes =
    R"(A command of two words may be written with a space: subsystem list. The daemon must have been
started with --control PATH. Without --socket, MRPOOL_SOCKET names the socket; without both, the
only socket below /run is used: /run/mrpool*/*.sock.

Exit status:
  0    done
  1    the daemon failed, the object exists already, or the connection was lost
  2    the command line, or a parameter of a method, is wrong
  3    no daemon, no permission, no answer in time; or the object does not exist or is in use
)";
constexpr const char* kExamples =
    R"(  $ mrpool-ctl subsystem list
  $ mrpool-ctl store create disk --storage file:/srv/disk.img,size=1GiB
  $ mrpool-ctl subsystem create nqn.2026-11.org.example:disk --any-host
  $ mrpool-ctl namespace add nqn.2026-11.org.example:disk --store disk
  $ mrpool-ctl qos set disk --iops 20000 --mbytes 200
  $ mrpool-ctl call bdev_get_bdevs --params '{"name": "disk"}' --socket /run/mrpool/nvmf.sock
)";

int main(int argc, char** argv) {
  base::CommandLine program(kProgram, "Shows and changes what a target daemon serves.");
  program.notes(kNotes);
  program.examples(kExamples);
  Commands commands(program);
  add_subsystems(commands);
  add_namespaces(commands);
  add_hosts(commands);
  add_listeners(commands);
  add_access(commands);
  add_referrals(commands);
  add_targets(commands);
  add_stores(commands);
  add_limits(commands);
  add_gateways(commands);
  add_daemon(commands);
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  move_options_back(words);
  join_words(program, words);
  std::vector<char*> arguments{argv[0]};
  for (std::string& word : words) arguments.push_back(word.data());
  return program.run(int(arguments.size()), arguments.data());
}

}  // namespace
}  // namespace mrpool::ctl

int main(int argc, char** argv) {
  mrpool::base::hold_standard_streams();
  return mrpool::ctl::main(argc, argv);
}
