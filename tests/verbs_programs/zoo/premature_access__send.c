// Two receives, of which the first has completed: the data of the second is used, too.
#include <stdlib.h>
#include <string.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* first = new_buffer(kBytes);
  char* second = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, 0);
  struct ibv_mr* one = register_buffer(&pair, first, kBytes, 0);
  struct ibv_mr* two = register_buffer(&pair, second, kBytes, 0);
  memset(from, 1, kBytes);
  struct request receive, send;
  struct ibv_recv_wr* bad_receive;
  struct ibv_send_wr* bad;
  ibv_post_recv(pair.b.qp, receive_of(&receive, one, 1), &bad_receive);
  ibv_post_recv(pair.b.qp, receive_of(&receive, two, 2), &bad_receive);
  for (int i = 0; i < 2; ++i) {
    check(ibv_post_send(pair.a.qp, send_of(&send, source, 3), &bad) == 0, "ibv_post_send");
    wait_for(pair.a.cq);
  }
  wait_for(pair.b.cq);
  if (!wrong) wait_for(pair.b.cq);
  // With the first completion at hand, the first byte of the second message is taken, too.
  while (*(volatile char*)second == 0) continue;  // FAULT
  if (wrong) wait_for(pair.b.cq);
  check(first[kBytes - 1] == 1 && second[kBytes - 1] == 1, "data is there");
  ibv_dereg_mr(source);
  ibv_dereg_mr(one);
  ibv_dereg_mr(two);
  free(from);
  free(first);
  free(second);
  close_pair(&pair);
  return 0;
}
