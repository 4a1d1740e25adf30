// The heavy side of the asymmetric fence: membarrier(2), Linux 4.14.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mrpool/internal/report.h"
#include "mrpool/internal/thread_slots.h"

namespace mrpool::internal {
namespace {

long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

bool register_process() {
  const long commands = membarrier(MEMBARRIER_CMD_QUERY);
  return commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 &&
         membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

}  // namespace

bool heavy_fence_available() {
  static const bool available = register_process();
  return available;
}

void MachinePlatform::heavy_fence() {
  // No slot is attached unless heavy_fence_available() has returned true.
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) {
    fatal("membarrier(PRIVATE_EXPEDITED) failed after it was registered");
  }
}

}  // namespace mrpool::internal
