// A QP is destroyed while a SEND is outstanding, for which the peer has no receive.
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
  if (!wrong) ibv_post_recv(pair.b.qp, receive_of(&receive, target, 1), &bad_receive);
  ibv_post_send(pair.a.qp, send_of(&send, source, 2), &bad);
  if (!wrong) wait_for(pair.b.cq);
  if (!wrong) wait_for(pair.a.cq);
  ibv_destroy_qp(pair.a.qp);  // FAULT
  ibv_destroy_qp(pair.b.qp);
  ibv_destroy_cq(pair.a.cq);
  ibv_destroy_cq(pair.b.cq);
  ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  ibv_dealloc_pd(pair.pd);
  ibv_close_device(pair.context);
  free(from);
  free(to);
  return 0;
}
