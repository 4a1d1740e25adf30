// A region is deregistered while a receive into it is posted.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* to = new_buffer(kBytes);
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, 0);
  struct request receive;
  struct ibv_recv_wr* bad_receive;
  ibv_post_recv(pair.b.qp, receive_of(&receive, target, 1), &bad_receive);
  if (wrong) ibv_dereg_mr(target);  // FAULT
  close_ends(&pair);
  if (!wrong) ibv_dereg_mr(target);
  close_device(&pair);
  free(to);
  return 0;
}
