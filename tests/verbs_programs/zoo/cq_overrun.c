// A CQ gets more completions than it has entries.
#include <stdlib.h>

#include "ends.h"

enum { kSends = 3 };

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, wrong ? kSends - 1 : kSends);  // FAULT
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kSends * kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  struct ibv_mr* target = register_buffer(&pair, to, kSends * kBytes, 0);
  for (uint64_t i = 0; i < kSends; ++i) {
    struct request receive;
    struct ibv_recv_wr* bad_receive;
    receive_of(&receive, target, i)->sg_list->addr += i * kBytes;
    receive.sge.length = kBytes;
    ibv_post_recv(pair.b.qp, &receive.receive, &bad_receive);
  }
  for (uint64_t i = 0; i < kSends; ++i) {
    struct request send;
    struct ibv_send_wr* bad;
    ibv_post_send(pair.a.qp, send_of(&send, source, i), &bad);
  }
  // The last message has arrived: all sends have completed.
  for (int i = 0; i < kSends; ++i) wait_for(pair.b.cq);
  for (int i = 0; i < kSends; ++i) wait_for(pair.a.cq);
  ibv_dereg_mr(source);
  ibv_dereg_mr(target);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
