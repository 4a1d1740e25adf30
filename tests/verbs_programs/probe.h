// What the probes of the ABI share: expectations that print, and two QPs of one process.
//
// A probe is one file, run by mrpool-run; it opens the device, and ends with 1 after a failure.
// Thread safety: one thread. Ownership: the probe's.
#pragma once

#include <infiniband/verbs.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

inline int failures;

#define EXPECT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      ++failures;                                                                   \
    }                                                                               \
  } while (0)

#define EXPECT_REFUSED(call, wanted) \
  do {                               \
    errno = 0;                       \
    EXPECT(!(call));                 \
    EXPECT(errno == (wanted));       \
  } while (0)

inline ibv_context* context;
inline ibv_pd* pd;

inline void open_device() {
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  EXPECT(list != nullptr && count == 1 && list[1] == nullptr);
  context = ibv_open_device(list[0]);
  ibv_free_device_list(list);
  pd = ibv_alloc_pd(context);
  EXPECT(pd != nullptr);
}

inline void close_device() {
  EXPECT(ibv_dealloc_pd(pd) == 0);
  EXPECT(ibv_close_device(context) == 0);
}

struct End {
  ibv_cq* cq;
  ibv_qp* qp;
};

// In INIT; `rights`: qp_access_flags, where the program gives it some.
inline End make_end(ibv_pd* of, ibv_comp_channel* channel = nullptr, int rights = -1) {
  End end = {.cq = ibv_create_cq(of->context, 16, nullptr, channel, 0)};
  ibv_qp_init_attr attr = {
      .send_cq = end.cq, .recv_cq = end.cq, .qp_type = IBV_QPT_RC, .sq_sig_all = 1};
  attr.cap.max_send_wr = attr.cap.max_recv_wr = 8;
  attr.cap.max_send_sge = attr.cap.max_recv_sge = 1;
  attr.cap.max_inline_data = 64;
  end.qp = ibv_create_qp(of, &attr);
  ibv_qp_attr to = {.qp_state = IBV_QPS_INIT, .port_num = 1};
  EXPECT(end.qp != nullptr);
  int mask = IBV_QP_STATE | IBV_QP_PORT;
  if (rights >= 0) {
    to.qp_access_flags = static_cast<unsigned>(rights);
    mask |= IBV_QP_ACCESS_FLAGS;
  }
  EXPECT(ibv_modify_qp(end.qp, &to, mask) == 0);
  return end;
}

inline void meet(ibv_qp* qp, uint32_t peer) {
  ibv_qp_attr to = {.qp_state = IBV_QPS_RTR, .dest_qp_num = peer};
  EXPECT(ibv_modify_qp(qp, &to, IBV_QP_STATE | IBV_QP_DEST_QPN | IBV_QP_AV) == 0);
  to.qp_state = IBV_QPS_RTS;
  EXPECT(ibv_modify_qp(qp, &to, IBV_QP_STATE) == 0);
}

inline ibv_wc next(ibv_cq* cq) {
  ibv_wc wc = {.status = IBV_WC_GENERAL_ERR};
  for (int i = 0; i < 10000000; ++i) {
    if (ibv_poll_cq(cq, 1, &wc) == 1) return wc;
  }
  EXPECT(!"a completion came");
  return wc;
}

inline void destroy(const End& end) {
  EXPECT(ibv_destroy_qp(end.qp) == 0);
  EXPECT(ibv_destroy_cq(end.cq) == 0);
}
