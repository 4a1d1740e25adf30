// A right that no peer ever uses.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  const int rights = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
  struct ibv_mr* target = ibv_reg_mr(pair.pd, to, kBytes, rights);  // FAULT
  if (!wrong) {
    struct request read;
    struct ibv_send_wr* bad;
    ibv_post_send(pair.a.qp, read_of(&read, source, target->rkey, (uintptr_t)to, 1), &bad);
    wait_for(pair.a.cq);
  }
  ibv_dereg_mr(target);
  ibv_dereg_mr(source);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
