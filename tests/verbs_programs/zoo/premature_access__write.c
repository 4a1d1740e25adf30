// The last byte of a peer's WRITE, polled: it does not order the other bytes. A SEND that follows
// the WRITE does, when its receive completes.
#include <stdlib.h>
#include <string.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, IBV_ACCESS_REMOTE_WRITE);
  memset(from, 1, kBytes);
  struct request receive, write, send;
  struct ibv_recv_wr* bad_receive;
  struct ibv_send_wr* bad;
  receive_of(&receive, target, 1)->num_sge = 0;
  check(ibv_post_recv(pair.b.qp, &receive.receive, &bad_receive) == 0, "ibv_post_recv");
  write_of(&write, source, target->rkey, (uintptr_t)to, 2);
  check(ibv_post_send(pair.a.qp, &write.send, &bad) == 0, "ibv_post_send");
  wait_for(pair.a.cq);
  send_of(&send, source, 3)->num_sge = 0;
  if (!wrong) check(ibv_post_send(pair.a.qp, &send.send, &bad) == 0, "ibv_post_send");
  if (!wrong) wait_for(pair.b.cq);
  volatile char* last = to + kBytes - 1;
  while (*last == 0) continue;  // FAULT
  check(wrong || to[0] == 1, "data is there");
  if (wrong) check(ibv_post_send(pair.a.qp, &send.send, &bad) == 0, "ibv_post_send");
  if (wrong) wait_for(pair.b.cq);
  wait_for(pair.a.cq);
  ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
