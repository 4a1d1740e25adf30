// A request names the key of a region that was deregistered.
#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct message it;
  open_message(&it);
  post_message_receive(&it);
  if (wrong) ibv_dereg_mr(it.source);
  post_message_send(&it);  // FAULT
  wait_for_any(it.pair.a.cq);
  if (!wrong) wait_for(it.pair.b.cq);
  if (!wrong) ibv_dereg_mr(it.source);
  ibv_dereg_mr(it.target);
  free_message(&it);
  close_pair(&it.pair);
  return 0;
}
