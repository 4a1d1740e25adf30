// A receive's buffer is written while it is posted.
#include <string.h>

#include "ends.h"

int main(int argc, char** argv) {
  const int wrong = is_wrong(argc, argv);
  struct message it;
  open_message(&it);
  if (!wrong) memset(it.to, 'x', kBytes);
  post_message_receive(&it);  // FAULT
  if (wrong) memset(it.to, 'x', kBytes);
  post_message_send(&it);
  wait_for(it.pair.a.cq);
  wait_for(it.pair.b.cq);
  close_message(&it);
  return 0;
}
