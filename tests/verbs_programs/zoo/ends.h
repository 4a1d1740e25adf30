// Two connected RC QPs in one process, for the programs of this folder: `a` and `b`, which share a
// PD and have a CQ each. Every call must succeed; one that does not ends the program with status 2.
#pragma once

#include <infiniband/verbs.h>
#include <stddef.h>
#include <stdint.h>

enum { kBytes = 4096, kDepth = 8 };

struct end {
  struct ibv_cq* cq;
  struct ibv_qp* qp;
};

struct pair {
  struct ibv_context* context;
  struct ibv_pd* pd;
  struct end a;
  struct end b;
};

// `cqe`: entries of each CQ. Sends complete with an entry where they ask for one.
void open_pair(struct pair* pair, int cqe);
// Destroys the QPs and CQs; what else there is of the PD may follow.
void close_ends(struct pair* pair);
void close_device(struct pair* pair);
void close_pair(struct pair* pair);  // both

// Page-aligned memory, filled with zeros.
char* new_buffer(size_t bytes);
// Registered with IBV_ACCESS_LOCAL_WRITE and `rights`.
struct ibv_mr* register_buffer(struct pair* pair, void* buffer, size_t bytes, int rights);

// One work request. Each is posted by a call of its own so that the zoo's lines stay short.
struct request {
  struct ibv_sge sge;
  struct ibv_send_wr send;
  struct ibv_recv_wr receive;
};
struct ibv_send_wr* send_of(struct request* request, struct ibv_mr* mr, uint64_t wr_id);
struct ibv_send_wr* write_of(struct request* request, struct ibv_mr* from, uint32_t rkey,
                             uint64_t to, uint64_t wr_id);
struct ibv_send_wr* read_of(struct request* request, struct ibv_mr* to, uint32_t rkey,
                            uint64_t from, uint64_t wr_id);
struct ibv_recv_wr* receive_of(struct request* request, struct ibv_mr* mr, uint64_t wr_id);

// A SEND of a page from `a` to a receive of `b`, not posted yet: wr_ids 2 and 1.
struct message {
  struct pair pair;
  char* from;
  char* to;
  struct ibv_mr* source;
  struct ibv_mr* target;
  struct request send;
  struct request receive;
};
void open_message(struct message* message);
// Frees the memory; everything else is gone.
void free_message(struct message* message);
void close_message(struct message* message);
void post_message_receive(struct message* message);
void post_message_send(struct message* message);

// Waits for the next completion of that CQ, whatever its status.
struct ibv_wc wait_for_any(struct ibv_cq* cq);
// Waits for the next completion of that CQ, which must be a success.
void wait_for(struct ibv_cq* cq);

// Whether the program's one argument is "wrong" or "right".
int is_wrong(int argc, char** argv);
// The program cannot go on.
void check(int ok, const char* what);
