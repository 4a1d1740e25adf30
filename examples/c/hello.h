// What the hello programs in C share: what they exchange, which is what the hello programs in C++
// (examples/hello/) exchange, and how they stop.
//
// Thread safety: a program of one thread.
#pragma once

#include <mrpool.h>
#include <stdio.h>
#include <stdlib.h>

// The client's first message is what stands before `text`: the key to it, and whether the server is
// to end the key with its answer.
struct slot {
  uint64_t addr;
  uint64_t length;
  uint32_t rkey;
  uint32_t unused;
  uint8_t end_key;
  char text[64];
};
#define MESSAGE_BYTES offsetof(struct slot, text)

// Ends the program where a call failed: `error` is what it returned.
static inline void require(int error, const char* what) {
  if (error >= 0) return;
  fprintf(stderr, "%s: %s (error %d)\n", what, mrpool_error(), -error);
  exit(1);
}
static inline void require_done(int status, const char* what) {
  if (status == MRPOOL_WC_SUCCESS) return;
  fprintf(stderr, "%s: %s\n", what, mrpool_wc_status_str(status));
  exit(1);
}
