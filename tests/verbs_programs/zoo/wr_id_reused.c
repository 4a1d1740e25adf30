// Two requests have the same wr_id while both are outstanding.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, IBV_ACCESS_REMOTE_READ);
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, 0);
  const uint64_t wr_ids[] = {1, 2, wrong ? 2 : 3};
  for (int i = 0; i < 3; ++i) {
    struct request read;
    struct ibv_send_wr* bad;
    read_of(&read, target, source->rkey, (uintptr_t)from, wr_ids[i]);
    read.sge.length = 64;
    read.sge.addr += 64 * i;
    ibv_post_send(pair.a.qp, &read.send, &bad);  // FAULT
  }
  for (int i = 0; i < 3; ++i) wait_for(pair.a.cq);
  ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
