// Calls that the device lacks: each answers as a device without the feature does.
//
// One list names those in a context's tables, one the exported ones. docs/operate/verbs_programs.md
// lists what is missing, too.
#include <cerrno>
#include <type_traits>

#include "transport/provider/objects.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {
namespace {

// A function of any type that fails with EOPNOTSUPP: as an int the errno, as a pointer null.
template <class Function>
struct Absent;
template <class Result, class... Arguments>
struct Absent<Result (*)(Arguments...)> {
  static Result call(Arguments...) {
    errno = EOPNOTSUPP;
    if constexpr (std::is_pointer_v<Result>) {
      return nullptr;
    } else {
      return EOPNOTSUPP;
    }
  }
};

template <class Function>
void set_absent(Function& entry) {
  entry = &Absent<Function>::call;
}

}  // namespace

// Entries of verbs_context that stand for nothing here.
// clang-format off
#define MRPOOL_ABSENT_EXTENDED(X) \
  X(advise_mr) X(alloc_null_mr) X(read_counters) \
  X(attach_counters_point_flow) X(create_counters) X(destroy_counters) \
  X(reg_dm_mr) X(alloc_dm) X(free_dm) \
  X(modify_flow_action_esp) X(destroy_flow_action) X(create_flow_action_esp) \
  X(modify_qp_rate_limit) X(alloc_parent_domain) X(dealloc_td) \
  X(alloc_td) X(modify_cq) X(post_srq_ops) \
  X(destroy_rwq_ind_table) X(create_rwq_ind_table) X(destroy_wq) \
  X(modify_wq) X(create_wq) X(query_rt_values) \
  X(ibv_destroy_flow) X(ibv_create_flow) \
  X(open_qp) X(get_srq_num) X(open_xrcd) \
  X(close_xrcd)
// clang-format on

void fill_table(verbs_context& table) {
  table.sz = sizeof table;
#define MRPOOL_SET(name) set_absent(table.name);
  MRPOOL_ABSENT_EXTENDED(MRPOOL_SET)
#undef MRPOOL_SET
  table.query_device_ex = query_device_ex;
  table.query_port = query_port;
  table.create_cq_ex = create_cq_ex;
  table.create_qp_ex = create_qp_ex;
  table.create_srq_ex = create_srq_ex;
  table.context.ops.alloc_mw = alloc_mw;
  table.context.ops.bind_mw = bind_mw;
  table.context.ops.dealloc_mw = dealloc_mw;
  table.context.ops.poll_cq = poll_cq;
  table.context.ops.req_notify_cq = req_notify_cq;
  table.context.ops.post_send = post_send;
  table.context.ops.post_recv = post_recv;
  table.context.ops.post_srq_recv = post_srq_recv;
}

}  // namespace mrpool::provider

// Exported functions, with their arguments: nothing of what they touch is this device's.
#define MRPOOL_ABSENT_INT(X)                                                       \
  X(ibv_attach_mcast, (ibv_qp*, const ibv_gid*, uint16_t))                         \
  X(ibv_detach_mcast, (ibv_qp*, const ibv_gid*, uint16_t))                         \
  X(ibv_destroy_ah, (ibv_ah*))                                                     \
  X(ibv_init_ah_from_wc, (ibv_context*, uint8_t, ibv_wc*, ibv_grh*, ibv_ah_attr*)) \
  X(ibv_query_ece, (ibv_qp*, ibv_ece*))                                            \
  X(ibv_set_ece, (ibv_qp*, ibv_ece*))                                              \
  X(ibv_resolve_eth_l2_from_gid, (ibv_context*, ibv_ah_attr*, uint8_t*, uint16_t*))
#define MRPOOL_ABSENT_POINTER(X)                                           \
  X(ibv_ah*, ibv_create_ah, (ibv_pd*, ibv_ah_attr*))                       \
  X(ibv_ah*, ibv_create_ah_from_wc, (ibv_pd*, ibv_wc*, ibv_grh*, uint8_t)) \
  X(ibv_mr*, ibv_reg_dmabuf_mr, (ibv_pd*, uint64_t, size_t, uint64_t, int, int))

extern "C" {

#define MRPOOL_DEFINE(name, arguments) \
  int name arguments { return mrpool::provider::fail(EOPNOTSUPP); }
MRPOOL_ABSENT_INT(MRPOOL_DEFINE)
#undef MRPOOL_DEFINE
#define MRPOOL_DEFINE(result, name, arguments) \
  result name arguments { return mrpool::provider::fail_null(EOPNOTSUPP); }
MRPOOL_ABSENT_POINTER(MRPOOL_DEFINE)
#undef MRPOOL_DEFINE

// No guarantee is made on the order in which bytes of a message become visible.
int ibv_query_qp_data_in_order(ibv_qp*, ibv_wr_opcode, uint32_t) { return 0; }

}  // extern "C"
