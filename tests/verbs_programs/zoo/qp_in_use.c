// A QP is destroyed while a SEND is outstanding, for which the peer has no receive.
#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct message it;
  open_message(&it);
  if (!wrong) post_message_receive(&it);
  post_message_send(&it);
  if (!wrong) wait_for(it.pair.b.cq);
  if (!wrong) wait_for(it.pair.a.cq);
  ibv_destroy_qp(it.pair.a.qp);  // FAULT
  ibv_destroy_qp(it.pair.b.qp);
  ibv_destroy_cq(it.pair.a.cq);
  ibv_destroy_cq(it.pair.b.cq);
  ibv_dereg_mr(it.source);
  ibv_dereg_mr(it.target);
  close_device(&it.pair);
  free_message(&it);
  return 0;
}
