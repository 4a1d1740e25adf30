// mrpool-nvmf: an NVMe-oF/RDMA host in userspace.
#include "examples/base/command_line.h"
#include "examples/base/descriptor_limit.h"
#include "examples/base/exit_status.h"
#include "examples/load/interrupt.h"
#include "examples/nvmf/host/commands.h"

namespace mrpool::nvme::host {
namespace {

constexpr const char* kProgram = "mrpool-nvmf";
constexpr const char* kExamples = R"(  $ mrpool-nvmf discover uiwarp://127.0.0.1:4420
  $ mrpool-nvmf write uiwarp://127.0.0.1:4420 --subnqn NQN --input disk.img
  $ mrpool-nvmf perf uiwarp://127.0.0.1:4420 --subnqn NQN --rw randrw --time_based --runtime 5
)";

}  // namespace

int fail(const absl::Status& status) {
  return base::fail(kProgram, load::Interrupt::outcome(status));
}

int main(int argc, char** argv) {
  base::CommandLine program(kProgram, "An NVMe-oF/RDMA host in userspace.");
  program.notes(base::kExitStatuses);
  program.examples(kExamples);
  add_discover(program);
  add_identify(program);
  add_read(program);
  add_write(program);
  add_write_uncorrectable(program);
  add_perf(program);
  return program.run(argc, argv);
}

}  // namespace mrpool::nvme::host

int main(int argc, char** argv) {
  mrpool::base::hold_standard_streams();
  mrpool::base::raise_descriptor_limit();
  mrpool::load::Interrupt::take_signals(mrpool::nvme::host::kProgram);
  return mrpool::nvme::host::main(argc, argv);
}
