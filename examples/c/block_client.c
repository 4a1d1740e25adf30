// A client of the block targets (block.h), in C:
//
//   block_client_c ADDRESS write OFFSET LENGTH <data    writes LENGTH bytes of its input to the
//   disk block_client_c ADDRESS read OFFSET LENGTH >data     reads them
//
// Up to 16 requests at a time; each lends its piece of memory with a key of its own, leased from a
// pool and registered in one chain with the request.
#include <mrpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"

#define CONTAINER(pointer, type, member) ((type*)(void*)((char*)(pointer)-offsetof(type, member)))

struct request {
  struct mrpool_cqe invalidated;
  struct mrpool_lease* lease;
  struct block_request wire;
};

struct answer {
  struct mrpool_cqe received;
  struct block_response wire;
};

struct client {
  struct mrpool_reactor* reactor;
  struct mrpool_device* device;
  struct mrpool_pd* pd;
  struct mrpool_cq* cq;
  struct mrpool_mr_pool* pool;
  struct mrpool_qp* qp;
  struct mrpool_mr* data_mr;
  struct mrpool_mr* mr;  // of this struct
  enum block_operation operation;
  uint64_t offset;
  size_t length;
  size_t started;  // bytes
  size_t done;
  char* data;
  struct request requests[BLOCK_MAX_REQUESTS];
  struct answer answers[BLOCK_MAX_REQUESTS];
};

static struct client client;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "block_client_c: %s: %s\n", what, why);
  exit(1);
}
static void require(int error, const char* what) {
  if (error < 0) fail(what, mrpool_error());
}
static void require_post(int error, const char* what) {
  if (error < 0) fail(what, strerror(-error));
}

static struct mrpool_sge own(void* at, uint32_t length) {
  return (struct mrpool_sge){at, length, mrpool_mr_lkey(client.mr)};
}

static void receive(struct answer* answer) {
  const struct mrpool_sge sge = own(&answer->wire, sizeof answer->wire);
  const struct mrpool_recv_wr wr = {.cqe = &answer->received, .sg_list = &sge, .num_sge = 1};
  require_post(mrpool_post_recv(client.qp, &wr, NULL), "a receive");
}

// Sends a request for the next piece, if there is one.
static void next(struct request* request) {
  const uint32_t rights = client.operation == BLOCK_WRITE
                              ? MRPOOL_ACCESS_REMOTE_READ
                              : MRPOOL_ACCESS_LOCAL_WRITE | MRPOOL_ACCESS_REMOTE_WRITE;
  const size_t left = client.length - client.started;
  const uint32_t bytes = (uint32_t)(left < BLOCK_MAX_BYTES ? left : BLOCK_MAX_BYTES);
  const struct mrpool_sge piece = {client.data + client.started, bytes,
                                   mrpool_mr_lkey(client.data_mr)};
  if (bytes == 0) return;
  request->lease = mrpool_mr_pool_get(client.pool);
  if (request->lease == NULL) fail("the pool", "empty");
  mrpool_map_mr_sg(request->lease, &piece, 1);
  struct mrpool_send_wr reg;
  const int registers = mrpool_mr_prepare_reg(request->lease, rights, &reg);
  require_post(registers, "a registration");
  request->wire = (struct block_request){.operation = client.operation,
                                         .tag = (uint32_t)(request - client.requests),
                                         .offset = client.offset + client.started,
                                         .addr = mrpool_lease_remote_addr(request->lease),
                                         .rkey = mrpool_lease_rkey(request->lease),
                                         .length = bytes};
  const struct mrpool_sge sge = own(&request->wire, sizeof request->wire);
  const struct mrpool_send_wr send = {.opcode = MRPOOL_WR_SEND, .sg_list = &sge, .num_sge = 1};
  reg.next = &send;
  require_post(mrpool_post_send(client.qp, registers == 0 ? &reg : &send, NULL), "a request");
  client.started += bytes;
}

// The key is dead: the memory is ours again.
static void returned(struct request* request) {
  mrpool_mr_invalidated(request->lease);
  mrpool_mr_pool_put(request->lease);
  client.done += request->wire.length;
  if (client.done == client.length) {
    mrpool_disconnect_qp(client.qp);
  } else {
    next(request);
  }
}

static void on_invalidated(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  if (wc->status != MRPOOL_WC_SUCCESS) fail("an invalidation", mrpool_wc_status_str(wc->status));
  returned(CONTAINER(cqe, struct request, invalidated));
}

static void on_received(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  struct answer* answer = CONTAINER(cqe, struct answer, received);
  if (client.done == client.length) return;  // the end flushes what was still posted
  if (wc->status != MRPOOL_WC_SUCCESS) fail("a response", mrpool_wc_status_str(wc->status));
  if (answer->wire.tag >= BLOCK_MAX_REQUESTS) fail("a response", "unknown tag");
  if (answer->wire.error != 0) fail("the target", strerror((int)answer->wire.error));
  struct request* request = &client.requests[answer->wire.tag];
  receive(answer);
  if (wc->invalidated) {
    if (wc->invalidated_rkey != request->wire.rkey) fail("a response", "ends another key");
    returned(request);
    return;
  }
  struct mrpool_send_wr inv;
  mrpool_mr_prepare_inv(request->lease, &inv);
  inv.cqe = &request->invalidated;
  require_post(mrpool_post_send(client.qp, &inv, NULL), "an invalidation");
}

static void on_connected(struct mrpool_qp* qp, void* context,
                         const struct mrpool_connection* info) {
  (void)qp;
  (void)context;
  (void)info;
  for (int i = 0; i < BLOCK_MAX_REQUESTS; ++i) {
    client.requests[i].invalidated.done = on_invalidated;
    client.answers[i].received.done = on_received;
    receive(&client.answers[i]);
  }
  for (int i = 0; i < BLOCK_MAX_REQUESTS; ++i) next(&client.requests[i]);
}

static void on_disconnected(struct mrpool_qp* qp, void* context,
                            const struct mrpool_disconnect* why) {
  (void)qp;
  (void)context;
  if (client.done != client.length) fail("disconnected", why->detail);
  mrpool_reactor_stop(client.reactor);
}

static void set_up(const char* address) {
  const uint32_t rights =
      MRPOOL_ACCESS_LOCAL_WRITE | MRPOOL_ACCESS_REMOTE_READ | MRPOOL_ACCESS_REMOTE_WRITE;
  const struct mrpool_mr_pool_attr pool = {
      .size = sizeof pool, .count = BLOCK_MAX_REQUESTS, .access = rights};
  require(mrpool_reactor_create(NULL, &client.reactor), "the reactor");
  require(mrpool_device_open(address, &client.device), address);
  require(mrpool_pd_alloc(client.device, &client.pd), "the Pd");
  require(mrpool_cq_create(client.device, client.reactor, 256, &client.cq), "the Cq");
  require(mrpool_mr_pool_init(client.pd, &pool, &client.pool), "the pool");
  require(mrpool_reg_mr(client.pd, client.data, client.length,
                        mrpool_base_access(client.device, rights), &client.data_mr),
          "the data");
  require(mrpool_reg_mr(client.pd, &client, sizeof client, MRPOOL_ACCESS_LOCAL_WRITE, &client.mr),
          "the messages");
  const struct mrpool_qp_events events = {
      .size = sizeof events, .connected = on_connected, .disconnected = on_disconnected};
  const struct mrpool_qp_attr attr = {
      .size = sizeof attr, .send_cq = client.cq, .recv_cq = client.cq, .events = &events};
  require(mrpool_connect(client.device, address, client.pd, &attr, &client.qp), address);
}

static void tear_down(void) {
  mrpool_qp_destroy(client.qp);
  mrpool_dereg_mr(client.mr);
  mrpool_dereg_mr(client.data_mr);
  mrpool_mr_pool_destroy(client.pool);
  mrpool_cq_destroy(client.cq);
  mrpool_pd_dealloc(client.pd);
  mrpool_device_close(client.device);
  mrpool_reactor_destroy(client.reactor);
  free(client.data);
}

int main(int argc, char** argv) {
  if (argc != 5 || (strcmp(argv[2], "read") != 0 && strcmp(argv[2], "write") != 0)) {
    fprintf(stderr, "usage: block_client_c ADDRESS read|write OFFSET LENGTH\n");
    return 2;
  }
  client.operation = argv[2][0] == 'r' ? BLOCK_READ : BLOCK_WRITE;
  client.offset = strtoull(argv[3], NULL, 0);
  client.length = (size_t)strtoull(argv[4], NULL, 0);
  client.data = malloc(client.length + 1);
  if (client.length == 0 || client.data == NULL) fail("LENGTH", argv[4]);
  if (client.operation == BLOCK_WRITE &&
      fread(client.data, 1, client.length, stdin) != client.length) {
    fail("the input", "shorter than LENGTH");
  }
  set_up(argv[1]);
  mrpool_reactor_run(client.reactor);
  if (client.operation == BLOCK_READ) fwrite(client.data, 1, client.length, stdout);
  tear_down();
  return 0;
}
