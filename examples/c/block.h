// A block protocol that is as small as one can be: what the block targets
// (examples/c/block_target.c, examples/tutorial/target.cc) and the client
// (examples/c/block_client.c) exchange.
//
// The client sends a request, which lends memory with a key of its own. The target READs the data
// of a write from there, or WRITEs that of a read to there. Its response ends the key.
// Numbers are in the byte order of the machines. Thread safety: values.
#pragma once

#include <stdint.h>

#define BLOCK_MAX_BYTES 65536  // of one request
#define BLOCK_MAX_REQUESTS 16  // of one client at a time

enum block_operation { BLOCK_READ = 1, BLOCK_WRITE = 2 };

struct block_request {
  uint32_t operation;  // enum block_operation
  uint32_t tag;        // comes back in the response
  uint64_t offset;     // bytes into the disk
  uint64_t addr;       // the lent memory
  uint32_t rkey;
  uint32_t length;
};

struct block_response {
  uint32_t tag;
  uint32_t error;  // an errno value, or 0
};
