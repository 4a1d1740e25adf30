/* Preloaded into iscsi-test-cu: a second without an event is not yet an end.
 *
 * libiscsi 1.19 waits for events with poll(..., 1000), and its iSER transport takes the timeout for an
 * error ("revents is not POLLIN") and gives the login up. Under emulation a second is soon over. */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>

int poll(struct pollfd* fds, nfds_t count, int milliseconds) {
  struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  if (milliseconds == 1000) limit.tv_sec = 15;
  return ppoll(fds, count, milliseconds < 0 ? NULL : &limit, NULL);
}
