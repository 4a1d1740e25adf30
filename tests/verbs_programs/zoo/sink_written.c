// The sink of a READ is written before the READ has completed.
#include <stdlib.h>
#include <string.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct pair pair;
  open_pair(&pair, kDepth);
  char* from = new_buffer(kBytes);
  char* to = new_buffer(kBytes);
  struct ibv_mr* source = register_buffer(&pair, from, kBytes, IBV_ACCESS_REMOTE_READ);
  struct ibv_mr* sink = register_buffer(&pair, to, kBytes, 0);
  struct request read;
  struct ibv_send_wr* bad;
  ibv_post_send(pair.a.qp, read_of(&read, sink, source->rkey, (uintptr_t)from, 1), &bad);  // FAULT
  if (wrong) memset(to, 'x', kBytes);
  wait_for(pair.a.cq);
  if (!wrong) memset(to, 'x', kBytes);
  ibv_dereg_mr(source);
  ibv_dereg_mr(sink);
  free(from);
  free(to);
  close_pair(&pair);
  return 0;
}
