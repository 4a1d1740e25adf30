// SENDs without a receive: they wait as the sender's rnr_retry defines, whether the peer's receives
// belong to its QP or to an SRQ. Run by mrpool-run; prints each line that does not hold and
// ends with 1 when there is one.
#include <infiniband/verbs.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>

namespace {

int failures;

#define EXPECT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      ++failures;                                                                   \
    }                                                                               \
  } while (0)

constexpr uint8_t kForEver = 7;
constexpr uint8_t kNotAtAll = 0;
constexpr std::chrono::seconds kLeast{3};      // that a SEND waits
constexpr std::chrono::seconds kPatience{60};  // of this program

using Clock = std::chrono::steady_clock;

ibv_context* context;
ibv_pd* pd;
ibv_mr* mr;
char memory[4096];

ibv_qp* make_qp(ibv_cq* cq, ibv_srq* srq) {
  ibv_qp_init_attr attr = {
      .send_cq = cq, .recv_cq = cq, .srq = srq, .qp_type = IBV_QPT_RC, .sq_sig_all = 1};
  attr.cap = {.max_send_wr = 8, .max_recv_wr = 8, .max_send_sge = 1, .max_recv_sge = 1};
  ibv_qp* qp = ibv_create_qp(pd, &attr);
  EXPECT(qp != nullptr);
  ibv_qp_attr to = {.qp_state = IBV_QPS_INIT, .port_num = 1};
  EXPECT(ibv_modify_qp(qp, &to, IBV_QP_STATE | IBV_QP_PORT) == 0);
  return qp;
}

void meet(ibv_qp* qp, uint32_t peer, uint8_t rnr_retry) {
  ibv_qp_attr to = {.qp_state = IBV_QPS_RTR, .dest_qp_num = peer, .min_rnr_timer = 1};
  EXPECT(ibv_modify_qp(qp, &to,
                       IBV_QP_STATE | IBV_QP_DEST_QPN | IBV_QP_AV | IBV_QP_MIN_RNR_TIMER) == 0);
  to.qp_state = IBV_QPS_RTS;
  to.rnr_retry = rnr_retry;
  EXPECT(ibv_modify_qp(qp, &to, IBV_QP_STATE | IBV_QP_RNR_RETRY) == 0);
}

// A sender, and a receiver with or without an SRQ.
struct Pair {
  Pair(bool with_srq, uint8_t rnr_retry) {
    send_cq = ibv_create_cq(context, 16, nullptr, nullptr, 0);
    receive_cq = ibv_create_cq(context, 16, nullptr, nullptr, 0);
    ibv_srq_init_attr attr = {.attr = {.max_wr = 8, .max_sge = 1}};
    if (with_srq) srq = ibv_create_srq(pd, &attr);
    sender = make_qp(send_cq, nullptr);
    receiver = make_qp(receive_cq, srq);
    meet(receiver, sender->qp_num, kForEver);
    meet(sender, receiver->qp_num, rnr_retry);
  }
  ~Pair() {
    EXPECT(ibv_destroy_qp(sender) == 0);
    EXPECT(ibv_destroy_qp(receiver) == 0);
    if (srq != nullptr) EXPECT(ibv_destroy_srq(srq) == 0);
    EXPECT(ibv_destroy_cq(send_cq) == 0);
    EXPECT(ibv_destroy_cq(receive_cq) == 0);
  }

  int send(uint64_t id) {
    ibv_sge sge = {reinterpret_cast<uintptr_t>(memory), 64, mr->lkey};
    ibv_send_wr wr = {.wr_id = id, .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND};
    ibv_send_wr* bad;
    return ibv_post_send(sender, &wr, &bad);
  }
  void receive(uint64_t id) {
    ibv_sge sge = {reinterpret_cast<uintptr_t>(memory + 2048), 64, mr->lkey};
    ibv_recv_wr wr = {.wr_id = id, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad;
    EXPECT((srq != nullptr ? ibv_post_srq_recv(srq, &wr, &bad)
                           : ibv_post_recv(receiver, &wr, &bad)) == 0);
  }

  ibv_cq* send_cq;
  ibv_cq* receive_cq;
  ibv_srq* srq = nullptr;
  ibv_qp* sender;
  ibv_qp* receiver;
};

bool poll(ibv_cq* cq, ibv_wc& wc, Clock::duration patience) {
  const auto until = Clock::now() + patience;
  do {
    if (ibv_poll_cq(cq, 1, &wc) == 1) return true;
  } while (Clock::now() < until);
  return false;
}

void sends_wait(bool with_srq) {
  Pair pair(with_srq, kForEver);
  constexpr uint64_t kSends = 5;
  for (uint64_t i = 0; i < kSends; ++i) EXPECT(pair.send(i) == 0);
  ibv_wc wc;
  EXPECT(!poll(pair.receive_cq, wc, std::chrono::milliseconds(100)));
  for (uint64_t i = 0; i < kSends; ++i) {
    pair.receive(100 + i);
    EXPECT(poll(pair.receive_cq, wc, kPatience));
    EXPECT(wc.status == IBV_WC_SUCCESS && wc.wr_id == 100 + i && wc.byte_len == 64);
    EXPECT(poll(pair.send_cq, wc, kPatience));
    EXPECT(wc.status == IBV_WC_SUCCESS && wc.wr_id == i);
  }
}

ibv_qp_state state_of(ibv_qp* qp) {
  ibv_qp_attr attr;
  ibv_qp_init_attr init;
  EXPECT(ibv_query_qp(qp, &attr, IBV_QP_STATE, &init) == 0);
  return attr.qp_state;
}

void sends_give_up() {
  Pair plain(false, kNotAtAll);
  Pair shared(true, kNotAtAll);
  const auto start = Clock::now();
  for (Pair* each : {&plain, &shared}) {
    EXPECT(each->send(1) == 0);
    EXPECT(each->send(2) == 0);
  }
  ibv_wc wc;
  EXPECT(poll(plain.send_cq, wc, kPatience));
  EXPECT(wc.status == IBV_WC_RNR_RETRY_EXC_ERR && wc.wr_id == 1);
  EXPECT(Clock::now() - start >= kLeast);
  EXPECT(poll(plain.send_cq, wc, kPatience));
  EXPECT(wc.status == IBV_WC_WR_FLUSH_ERR && wc.wr_id == 2);
  // To an SRQ they have completed before; the connection ends.
  for (uint64_t i = 1; i <= 2; ++i) {
    EXPECT(poll(shared.send_cq, wc, kPatience));
    EXPECT(wc.status == IBV_WC_SUCCESS && wc.wr_id == i);
  }
  do {
    EXPECT(shared.send(3) == 0);
    EXPECT(poll(shared.send_cq, wc, kPatience));
  } while (wc.status == IBV_WC_SUCCESS && Clock::now() - start < kPatience);
  // One that is under way when the connection ends just has no answer.
  EXPECT(wc.status == IBV_WC_RNR_RETRY_EXC_ERR || wc.status == IBV_WC_RETRY_EXC_ERR);
  EXPECT(Clock::now() - start >= kLeast);
  EXPECT(state_of(shared.sender) == IBV_QPS_ERR);
}

}  // namespace

int main() {
  ibv_device** list = ibv_get_device_list(nullptr);
  context = ibv_open_device(list[0]);
  ibv_free_device_list(list);
  pd = ibv_alloc_pd(context);
  mr = ibv_reg_mr(pd, memory, sizeof memory, IBV_ACCESS_LOCAL_WRITE);
  EXPECT(mr != nullptr);
  sends_wait(false);
  sends_wait(true);
  sends_give_up();
  EXPECT(ibv_dereg_mr(mr) == 0);
  EXPECT(ibv_dealloc_pd(pd) == 0);
  EXPECT(ibv_close_device(context) == 0);
  return failures != 0;
}
