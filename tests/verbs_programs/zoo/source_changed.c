// The source of a SEND is written before the SEND has completed.
#include <string.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct message it;
  open_message(&it);
  post_message_receive(&it);
  post_message_send(&it);  // FAULT
  if (wrong) memset(it.from, 'x', kBytes);
  wait_for(it.pair.a.cq);
  if (!wrong) memset(it.from, 'x', kBytes);
  wait_for(it.pair.b.cq);
  close_message(&it);
  return 0;
}
