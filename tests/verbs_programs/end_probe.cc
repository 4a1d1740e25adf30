// The end of a connection and the message before it: a program that finds its CQ empty, then learns
// of the end and destroys its QP has had the message. libfabric's rdm endpoints work so. Run by
// mrpool-run; a call that never returns ends it by SIGALRM.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "probe.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kPatienceSeconds = 200;
// The program looks for events that long before it polls. The provider waits a second for it.
constexpr int kLookMilliseconds = 100;
// A run in which the machine was busier than that shows nothing.
constexpr std::chrono::milliseconds kPrompt{500};
constexpr int kMostRuns = 20;

bool readable(const rdma_event_channel* channel, int milliseconds) {
  pollfd fd = {channel->fd, POLLIN, 0};
  return ::poll(&fd, 1, milliseconds) == 1;
}

// The next event, which has to be a `wanted`; its id.
rdma_cm_id* await(rdma_event_channel* channel, rdma_cm_event_type wanted) {
  rdma_cm_event* event = nullptr;
  EXPECT(rdma_get_cm_event(channel, &event) == 0 && event->event == wanted);
  rdma_cm_id* const id = event->id;
  EXPECT(rdma_ack_cm_event(event) == 0);
  return id;
}

// One end of a connection, with one receive posted.
struct Peer {
  void open(rdma_cm_id* of) {
    id = of;
    cq = ibv_create_cq(id->verbs, 16, nullptr, nullptr, 0);
    ibv_qp_init_attr attr = {.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC, .sq_sig_all = 1};
    attr.cap = {.max_send_wr = 8,
                .max_recv_wr = 8,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = 0};
    EXPECT(rdma_create_qp(id, nullptr, &attr) == 0);
    mr = ibv_reg_mr(id->pd, memory, sizeof memory, IBV_ACCESS_LOCAL_WRITE);
    ibv_sge sge = {reinterpret_cast<uintptr_t>(memory), sizeof memory, mr->lkey};
    ibv_recv_wr wr = {.wr_id = 1, .next = nullptr, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad;
    EXPECT(ibv_post_recv(id->qp, &wr, &bad) == 0);
  }
  void send() const {
    ibv_sge sge = {reinterpret_cast<uintptr_t>(memory), sizeof memory, mr->lkey};
    ibv_send_wr wr = {.wr_id = 2, .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND};
    ibv_send_wr* bad;
    EXPECT(ibv_post_send(id->qp, &wr, &bad) == 0);
  }
  void destroy_qp() const {
    if (id->qp != nullptr) rdma_destroy_qp(id);
  }
  void close() const {
    destroy_qp();
    EXPECT(ibv_dereg_mr(mr) == 0);
    EXPECT(ibv_destroy_cq(cq) == 0);
    EXPECT(rdma_destroy_id(id) == 0);
  }
  rdma_cm_id* id = nullptr;
  ibv_cq* cq = nullptr;
  ibv_mr* mr = nullptr;
  char memory[64] = {};
};

// A client and a server of this process that have met.
class Connection {
 public:
  Connection() {
    rdma_cm_id* listener;
    EXPECT(rdma_create_id(servers_, &listener, nullptr, RDMA_PS_TCP) == 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT(rdma_bind_addr(listener, reinterpret_cast<sockaddr*>(&address)) == 0);
    EXPECT(rdma_listen(listener, 1) == 0);
    address.sin_port = rdma_get_src_port(listener);
    rdma_cm_id* id;
    EXPECT(rdma_create_id(clients_, &id, nullptr, RDMA_PS_TCP) == 0);
    EXPECT(rdma_resolve_addr(id, nullptr, reinterpret_cast<sockaddr*>(&address), 1000) == 0);
    await(clients_, RDMA_CM_EVENT_ADDR_RESOLVED);
    EXPECT(rdma_resolve_route(id, 1000) == 0);
    await(clients_, RDMA_CM_EVENT_ROUTE_RESOLVED);
    client.open(id);
    rdma_conn_param param = {};
    param.rnr_retry_count = 7;
    EXPECT(rdma_connect(id, &param) == 0);
    server.open(await(servers_, RDMA_CM_EVENT_CONNECT_REQUEST));
    EXPECT(rdma_accept(server.id, &param) == 0);
    await(servers_, RDMA_CM_EVENT_ESTABLISHED);
    await(clients_, RDMA_CM_EVENT_ESTABLISHED);
    EXPECT(rdma_destroy_id(listener) == 0);
  }
  ~Connection() {
    server.close();
    client.close();
    rdma_destroy_event_channel(servers_);
    rdma_destroy_event_channel(clients_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The client's last message, and the end.
  void end_by_client() {
    client.send();
    EXPECT(next(client.cq).status == IBV_WC_SUCCESS);
    EXPECT(rdma_disconnect(client.id) == 0);
    await(clients_, RDMA_CM_EVENT_DISCONNECTED);
  }
  bool server_knows(int milliseconds) const { return readable(servers_, milliseconds); }
  void server_awaits_end() const { await(servers_, RDMA_CM_EVENT_DISCONNECTED); }

  Peer client;
  Peer server;

 private:
  rdma_event_channel* servers_ = rdma_create_event_channel();
  rdma_event_channel* clients_ = rdma_create_event_channel();
};

// False: the machine was busy, and nothing was seen.
bool polls_then_looks_for_the_end() {
  Connection connection;
  ibv_wc wc = {};
  EXPECT(ibv_poll_cq(connection.server.cq, 1, &wc) == 0);
  const auto begin = Clock::now();
  connection.end_by_client();
  const bool knows = connection.server_knows(kLookMilliseconds);
  if (Clock::now() - begin > kPrompt) return false;
  if (knows) {
    connection.server_awaits_end();
    connection.server.destroy_qp();
  }
  EXPECT(ibv_poll_cq(connection.server.cq, 1, &wc) == 1);  // the end came after it
  EXPECT(wc.status == IBV_WC_SUCCESS && wc.wr_id == 1);
  if (!knows) connection.server_awaits_end();
  return true;
}

void learns_of_the_end_without_polling() {
  Connection connection;
  connection.end_by_client();
  connection.server_awaits_end();
}

void learns_of_the_end_of_a_destroyed_qp() {
  Connection connection;
  connection.end_by_client();
  connection.server.destroy_qp();
  connection.server_awaits_end();
}

void learns_of_the_end_that_both_want() {
  Connection connection;
  connection.end_by_client();
  EXPECT(rdma_disconnect(connection.server.id) == 0);
  connection.server_awaits_end();
}

}  // namespace

int main() {
  ::alarm(kPatienceSeconds);
  int runs = 0;
  while (!polls_then_looks_for_the_end()) {
    if (++runs == kMostRuns) std::printf("the machine was too busy %d times\n", runs);
    if (runs == kMostRuns) break;
  }
  EXPECT(runs < kMostRuns);
  learns_of_the_end_without_polling();
  learns_of_the_end_of_a_destroyed_qp();
  learns_of_the_end_that_both_want();
  return failures == 0 ? 0 : 1;
}
