// A peer's WRITE with a key that ended before.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  const int rights = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, rights);
  const uint32_t rkey = target->rkey;
  if (wrong) ibv_dereg_mr(target);  // FAULT
  struct request write;
  struct ibv_send_wr* bad;
  check(ibv_post_send(pair.a.qp, write_of(&write, source, rkey, (uintptr_t)to, 1), &bad) == 0,
        "ibv_post_send");
  wait_for_any(pair.a.cq);
  // The answer to a READ means that the WRITE before it arrived.
  ibv_post_send(pair.a.qp, read_of(&write, source, rkey, (uintptr_t)to, 2), &bad);
  wait_for_any(pair.a.cq);
  if (!wrong) ibv_dereg_mr(target);
  ibv_dereg_mr(source);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
