// Memory is freed while it is registered: peers and the device may still write there.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = new_buffer(kBytes);
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, 0);
  if (!wrong) ibv_dereg_mr(mr);
  free(buffer);  // FAULT
  if (wrong) ibv_dereg_mr(mr);
  close_pair(&pair);
  return 0;
}
