// More SENDs than the queue holds, and none asks for a completion.
#include <stdlib.h>

#include "ends.h"

enum { kSends = kDepth + 1 };

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kSends);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  struct ibv_mr* target = register_buffer(&pair, to, kBytes, 0);
  for (uint64_t i = 0; i < kSends; ++i) {
    struct request receive, send;
    struct ibv_recv_wr* bad_receive;
    struct ibv_send_wr* bad;
    ibv_post_recv(pair.b.qp, receive_of(&receive, target, i), &bad_receive);
    const int signalled = !wrong && i % kDepth == kDepth - 1;
    send_of(&send, source, i)->send_flags = signalled ? IBV_SEND_SIGNALED : 0;
    if (ibv_post_send(pair.a.qp, &send.send, &bad) != 0) break;  // FAULT
    wait_for(pair.b.cq);
    if (signalled) wait_for(pair.a.cq);
  }
  ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
