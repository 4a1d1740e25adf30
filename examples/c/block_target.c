// A block target in C: a RAM disk of 16 MiB over RDMA (block.h), for any number of clients, in an
// epoll loop of its own. It shows what a storage target in C is made of:
//
//   a connection  a Qp, an rw context, a fixed number of receives and of requests
//   a request     a transfer (mrpool_rw_ctx) and a response, both embedded; a receive is posted
//   again
//                 as soon as a request has taken what came, since the client's next message may be
//                 here before this side hears that its response went out
//   the pool      one for all connections: when its MRs are out, transfers wait
//
// Data goes between the disk's memory and the client's without a copy: the disk is one
// registration.
#include <errno.h>
#include <mrpool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block.h"

#define DISK_BYTES (16u << 20)
#define MAX_CONNECTIONS 64
#define POOL_MRS 8

#define CONTAINER(pointer, type, member) ((type*)(void*)((char*)(pointer)-offsetof(type, member)))

struct target {
  struct mrpool_reactor* reactor;
  struct mrpool_device* device;
  struct mrpool_pd* pd;
  struct mrpool_cq* cq;
  struct mrpool_mr_pool* pool;
  struct mrpool_mr* disk_mr;
  struct mrpool_listener* listener;
  struct mrpool_rw_attr limits;
  struct mrpool_rw_needs needs;
  uint8_t with_inv;
  char* disk;
  struct connection* connections[MAX_CONNECTIONS];
};

struct receive {
  struct mrpool_cqe received;
  struct connection* connection;
  struct receive* next;  // of those that wait for a request
  struct block_request wire;
};

struct request {
  struct mrpool_rw_ctx transfer;
  struct mrpool_cqe sent;
  struct connection* connection;
  struct request* next;  // of those that are free
  struct mrpool_sge data;
  struct block_request wire;
  struct block_response response;
};

struct connection {
  struct request requests[BLOCK_MAX_REQUESTS];
  struct receive receives[BLOCK_MAX_REQUESTS];
  struct request* free;
  struct receive* waiting;
  struct receive** last_waiting;
  struct target* target;
  struct mrpool_qp* qp;
  struct mrpool_rw* rw;
  struct mrpool_mr* mr;      // of this struct
  struct connection** self;  // in the target's table
};

static void require(int error, const char* what) {
  if (error >= 0) return;
  fprintf(stderr, "block_target_c: %s: %s (error %d)\n", what, mrpool_error(), -error);
  exit(1);
}

static struct mrpool_sge own(const struct connection* connection, void* at, uint32_t length) {
  return (struct mrpool_sge){at, length, mrpool_mr_lkey(connection->mr)};
}

// A peer that breaks the rules loses its connection, and nobody else notices.
static void give_up(struct connection* connection) { mrpool_abort_qp(connection->qp); }

static void post(struct receive* receive) {
  const struct mrpool_sge sge = own(receive->connection, &receive->wire, sizeof receive->wire);
  const struct mrpool_recv_wr wr = {.cqe = &receive->received, .sg_list = &sge, .num_sge = 1};
  if (mrpool_post_recv(receive->connection->qp, &wr, NULL) != 0) give_up(receive->connection);
}

// The response, which ends the client's key. `sge` is the caller's: a transfer may keep it.
static struct mrpool_send_wr response_of(struct request* request, uint32_t error,
                                         struct mrpool_sge* sge) {
  request->response = (struct block_response){request->wire.tag, error};
  *sge = own(request->connection, &request->response, sizeof request->response);
  return (struct mrpool_send_wr){
      .opcode = request->connection->target->with_inv ? MRPOOL_WR_SEND_WITH_INV : MRPOOL_WR_SEND,
      .rkey = request->wire.rkey,
      .cqe = &request->sent,
      .send_flags = MRPOOL_SEND_SIGNALED,
      .sg_list = sge,
      .num_sge = 1};
}

static void respond(struct request* request, uint32_t error) {
  struct mrpool_sge sge;
  const struct mrpool_send_wr wr = response_of(request, error, &sge);
  if (mrpool_post_send(request->connection->qp, &wr, NULL) != 0) give_up(request->connection);
}

static void on_transferred(struct mrpool_rw_ctx* ctx, int status) {
  struct request* request = CONTAINER(ctx, struct request, transfer);
  mrpool_rw_ctx_destroy(ctx);
  if (status == MRPOOL_WC_SUCCESS) {
    respond(request, 0);
  } else {
    give_up(request->connection);
  }
}

static void begin(struct request* request) {
  struct target* target = request->connection->target;
  const struct block_request* wire = &request->wire;
  if ((wire->operation != BLOCK_READ && wire->operation != BLOCK_WRITE) || wire->length == 0 ||
      wire->length > BLOCK_MAX_BYTES || wire->offset > DISK_BYTES - wire->length) {
    respond(request, EINVAL);
    return;
  }
  request->data = (struct mrpool_sge){target->disk + wire->offset, wire->length,
                                      mrpool_mr_lkey(target->disk_mr)};
  const int error = mrpool_rw_ctx_init(
      &request->transfer, request->connection->rw, &request->data, 1, 0, wire->addr, wire->rkey,
      wire->length, wire->operation == BLOCK_WRITE ? MRPOOL_RW_READ : MRPOOL_RW_WRITE);
  if (error != 0 || mrpool_rw_ctx_post(&request->transfer, NULL) != 0) give_up(request->connection);
}

// Gives what came to requests that are free, in the order in which it came.
static void pump(struct connection* connection) {
  while (connection->waiting != NULL && connection->free != NULL) {
    struct receive* receive = connection->waiting;
    struct request* request = connection->free;
    connection->waiting = receive->next;
    if (connection->waiting == NULL) connection->last_waiting = &connection->waiting;
    connection->free = request->next;
    request->wire = receive->wire;
    post(receive);
    begin(request);
  }
}

static void on_sent(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  struct request* request = CONTAINER(cqe, struct request, sent);
  struct connection* connection = request->connection;
  if (wc->status != MRPOOL_WC_SUCCESS) return;
  request->next = connection->free;
  connection->free = request;
  pump(connection);
}

static void on_received(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  struct receive* receive = CONTAINER(cqe, struct receive, received);
  struct connection* connection = receive->connection;
  if (wc->status != MRPOOL_WC_SUCCESS) return;
  if (wc->byte_len != sizeof receive->wire) {
    give_up(connection);
    return;
  }
  receive->next = NULL;
  *connection->last_waiting = receive;
  connection->last_waiting = &receive->next;
  pump(connection);
}

static void end(struct connection* connection) {
  mrpool_rw_destroy(connection->rw);
  mrpool_qp_destroy(connection->qp);
  mrpool_dereg_mr(connection->mr);
  *connection->self = NULL;
  free(connection);
}

static void on_disconnected(struct mrpool_qp* qp, void* context,
                            const struct mrpool_disconnect* why) {
  (void)qp;
  (void)why;
  end(context);
}

static struct connection* make_connection(struct target* target) {
  struct connection** place = target->connections;
  while (place < target->connections + MAX_CONNECTIONS && *place != NULL) ++place;
  if (place == target->connections + MAX_CONNECTIONS) return NULL;
  struct connection* connection = aligned_alloc(16, sizeof *connection);
  if (connection == NULL) return NULL;
  memset(connection, 0, sizeof *connection);
  connection->self = place;
  connection->target = target;
  connection->last_waiting = &connection->waiting;
  for (int i = 0; i < BLOCK_MAX_REQUESTS; ++i) {
    struct request* request = &connection->requests[i];
    connection->receives[i].connection = request->connection = connection;
    connection->receives[i].received.done = on_received;
    request->transfer.done = on_transferred;
    request->sent.done = on_sent;
    request->next = connection->free;
    connection->free = request;
  }
  if (mrpool_reg_mr(target->pd, connection, sizeof *connection, MRPOOL_ACCESS_LOCAL_WRITE,
                    &connection->mr) == 0) {
    *place = connection;
    return connection;
  }
  free(connection);
  return NULL;
}

static void on_connect_request(void* context, struct mrpool_connect_request* wish,
                               const struct mrpool_connection* info) {
  static const struct mrpool_qp_events events = {.size = sizeof events,
                                                 .disconnected = on_disconnected};
  struct target* target = context;
  struct connection* connection = make_connection(target);
  (void)info;
  if (connection == NULL) {
    mrpool_reject(wish, NULL, 0);
    return;
  }
  const struct mrpool_qp_attr attr = {.size = sizeof attr,
                                      .send_cq = target->cq,
                                      .recv_cq = target->cq,
                                      .events = &events,
                                      .context = connection,
                                      .max_send_wr = target->needs.send_wr + BLOCK_MAX_REQUESTS,
                                      .max_recv_wr = BLOCK_MAX_REQUESTS,
                                      .max_send_sge = target->needs.send_sge};
  if (mrpool_accept(wish, target->pd, &attr, &connection->qp) != 0 ||
      mrpool_rw_create(connection->qp, target->pool, &target->limits, &connection->rw) != 0) {
    fprintf(stderr, "block_target_c: a connection is refused: %s\n", mrpool_error());
    end(connection);
    return;
  }
  for (int i = 0; i < BLOCK_MAX_REQUESTS; ++i) post(&connection->receives[i]);
}

static void set_up(struct target* target, const char* address) {
  static const struct mrpool_listen_events events = {.size = sizeof events,
                                                     .connect_request = on_connect_request};
  struct mrpool_device_attr device = {.size = sizeof device};
  target->limits = (struct mrpool_rw_attr){.size = sizeof target->limits,
                                           .max_operations = BLOCK_MAX_REQUESTS,
                                           .max_transfer = BLOCK_MAX_BYTES,
                                           .max_segments = 1};
  target->needs.size = sizeof target->needs;
  require(mrpool_reactor_create(NULL, &target->reactor), "the reactor");
  require(mrpool_device_open(address, &target->device), address);
  require(mrpool_device_query(target->device, &device), address);
  require(mrpool_rw_query_needs(target->device, &target->limits, &target->needs), address);
  target->with_inv = device.send_with_inv && device.registration == MRPOOL_FAST_REG;
  require(mrpool_pd_alloc(target->device, &target->pd), "the Pd");
  // Each connection's share: its receives, its responses and what its rw context posts.
  const uint32_t share = target->needs.send_wr + 2 * BLOCK_MAX_REQUESTS;
  require(mrpool_cq_create(target->device, target->reactor, MAX_CONNECTIONS * share, &target->cq),
          "the Cq");
  const struct mrpool_mr_pool_attr pool = {
      .size = sizeof pool, .count = POOL_MRS, .access = target->needs.pool_access};
  require(mrpool_mr_pool_init(target->pd, &pool, &target->pool), "the pool");
  target->disk = calloc(1, DISK_BYTES);
  require(target->disk != NULL ? 0 : -ENOMEM, "the disk");
  require(mrpool_reg_mr(target->pd, target->disk, DISK_BYTES, target->needs.sink_access,
                        &target->disk_mr),
          "the disk");
  require(
      mrpool_listen(target->device, target->reactor, address, &events, target, &target->listener),
      address);
}

// The loop is the program's: the reactor is one descriptor among others.
static void serve(struct target* target) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  const int stop = signalfd(-1, &signals, SFD_CLOEXEC);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int watched[2] = {mrpool_reactor_fd(target->reactor), stop};
  for (int i = 0; i < 2; ++i) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = watched[i]}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, watched[i], &event);
  }
  for (;;) {
    while (mrpool_reactor_poll(target->reactor) > 0) continue;
    if (!mrpool_reactor_arm(target->reactor)) continue;
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) == 1 && event.data.fd == stop) break;
  }
  close(epoll);
  close(stop);
}

static void tear_down(struct target* target) {
  for (int i = 0; i < MAX_CONNECTIONS; ++i) {
    if (target->connections[i] != NULL) end(target->connections[i]);
  }
  mrpool_listener_destroy(target->listener);
  mrpool_mr_pool_destroy(target->pool);
  mrpool_dereg_mr(target->disk_mr);
  free(target->disk);
  mrpool_cq_destroy(target->cq);
  mrpool_pd_dealloc(target->pd);
  mrpool_device_close(target->device);
  mrpool_reactor_destroy(target->reactor);
}

int main(int argc, char** argv) {
  static struct target target;
  set_up(&target, argc > 1 ? argv[1] : "uiwarp://127.0.0.1:4712");
  printf("listening on port %d\n", mrpool_listener_port(target.listener));
  fflush(stdout);
  serve(&target);
  tear_down(&target);
  return 0;
}
