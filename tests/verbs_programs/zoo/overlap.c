// Two receives into the same bytes.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* to = new_buffer(2 * kBytes);
  struct ibv_mr* target = register_buffer(&pair, to, 2 * kBytes, 0);
  struct request first, second;
  struct ibv_recv_wr* bad;
  receive_of(&first, target, 1);
  receive_of(&second, target, 2);
  first.sge.length = second.sge.length = kBytes;
  if (!wrong) second.sge.addr += kBytes;
  ibv_post_recv(pair.b.qp, &first.receive, &bad);
  ibv_post_recv(pair.b.qp, &second.receive, &bad);  // FAULT
  close_ends(&pair);
  ibv_dereg_mr(target);
  close_device(&pair);
  free(to);
  return 0;
}
