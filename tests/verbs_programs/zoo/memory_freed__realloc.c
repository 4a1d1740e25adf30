// A buffer grows while it is registered: realloc() moves it, and the region stays where it was.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = malloc(kBytes);
  char* const neighbor = malloc(kBytes);  // no room to grow in place
  check(buffer != NULL && neighbor != NULL, "malloc");
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, 0);
  if (!wrong) ibv_dereg_mr(mr);
  buffer = realloc(buffer, 100 * kBytes);  // FAULT
  if (wrong) ibv_dereg_mr(mr);
  check(buffer != NULL, "realloc");
  free(buffer);
  free(neighbor);
  close_pair(&pair);
  return 0;
}
