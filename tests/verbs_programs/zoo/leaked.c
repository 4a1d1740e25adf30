// An object that lives when the program ends.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = new_buffer(kBytes);
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, 0);
  struct ibv_cq* cq = ibv_create_cq(pair.context, 1, NULL, NULL, 0);  // FAULT
  if (wrong) return 0;
  ibv_destroy_cq(cq);
  ibv_dereg_mr(mr);
  free(buffer);
  close_pair(&pair);
  return 0;
}
