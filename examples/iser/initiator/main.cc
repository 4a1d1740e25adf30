// mrpool-iser: an iSER initiator on any device of the library.
#include <signal.h>

#include "examples/base/command_line.h"
#include "examples/base/descriptor_limit.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/load/interrupt.h"

namespace mrpool::iser {
namespace {

constexpr const char* kProgram = "mrpool-iser";
constexpr const char* kExamples = R"(  $ mrpool-iser ls uiwarp://127.0.0.1:3260
  $ mrpool-iser write uiwarp://127.0.0.1:3260 --target iqn.2026-11.org.example:disk --input disk.img
  $ mrpool-iser perf uiwarp://127.0.0.1:3260 --target IQN --rw randrw --time_based --runtime 5
)";

}  // namespace
}  // namespace mrpool::iser

int main(int argc, char** argv) {
  mrpool::base::hold_standard_streams();
  mrpool::base::raise_descriptor_limit();
  mrpool::load::Interrupt::take_signals(mrpool::iser::kProgram);
  ::signal(SIGPIPE, SIG_IGN);
  mrpool::base::CommandLine program(mrpool::iser::kProgram,
                                    "An iSCSI initiator over RDMA (RFC 7145), in userspace.");
  for (const auto add : {&mrpool::iser::add_ls, &mrpool::iser::add_inq, &mrpool::iser::add_read,
                         &mrpool::iser::add_write, &mrpool::iser::add_write_uncorrectable,
                         &mrpool::iser::add_perf}) {
    add(program);
  }
  program.notes(mrpool::base::kExitStatuses);
  program.examples(mrpool::iser::kExamples);
  return program.run(argc, argv);
}
