// A request names the key of a region that was deregistered.
#include <stdlib.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, 0);
  struct request receive, send;
  struct ibv_recv_wr* bad_receive;
  struct ibv_send_wr* bad;
  ibv_post_recv(pair.b.qp, receive_of(&receive, target, 1), &bad_receive);
  send_of(&send, source, 2);
  if (wrong) ibv_dereg_mr(source);
  ibv_post_send(pair.a.qp, &send.send, &bad);  // FAULT
  wait_for_any(pair.a.cq);
  if (!wrong) wait_for(pair.b.cq);
  if (!wrong) ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
