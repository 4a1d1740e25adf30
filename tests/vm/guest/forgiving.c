/* Preloaded into iscsi-test-cu, so that its tests tell of the target and not of libiscsi 1.19:
 *
 * - libiscsi waits for events with poll(..., 1000), and its iSER transport takes the timeout for an
 *   error ("revents is not POLLIN") and gives the login up. Under emulation a second is soon over.
 * - its iSER transport corrupts the heap ("free(): invalid next size", "munmap_chunk(): invalid
 *   pointer") with any target. Here blocks are longer than asked for, and none is used twice: a
 *   process runs one test. */
#define _GNU_SOURCE
#include <malloc.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

int poll(struct pollfd* fds, nfds_t count, int milliseconds) {
  struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  if (milliseconds == 1000) limit.tv_sec = 15;
  return ppoll(fds, count, milliseconds < 0 ? NULL : &limit, NULL);
}

enum { kSlack = 1024 };
void* __libc_calloc(size_t count, size_t size);

void* calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX) return NULL;
  return __libc_calloc(1, bytes + kSlack);
}

void* malloc(size_t size) { return calloc(1, size); }

void* realloc(void* old, size_t size) {
  void* made = malloc(size);
  if (made != NULL && old != NULL) {
    const size_t had = malloc_usable_size(old);
    memcpy(made, old, had < size ? had : size);
  }
  return made;
}

void free(void* block) { (void)block; }
