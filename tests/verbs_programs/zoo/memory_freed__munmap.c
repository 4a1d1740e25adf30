// A page is unmapped while it is registered: its pins keep it for the device, the program sees another.
#include <sys/mman.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = mmap(NULL, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(buffer != MAP_FAILED, "mmap");
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, 0);
  if (!wrong) ibv_dereg_mr(mr);
  munmap(buffer, kBytes);  // FAULT
  if (wrong) ibv_dereg_mr(mr);
  munmap(buffer + kBytes, kBytes);
  close_pair(&pair);
  return 0;
}
