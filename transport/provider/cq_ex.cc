// Extended completion queues: one completion at a time, its fields read by calls.
#include <cerrno>

#include "transport/provider/limits.h"
#include "transport/provider/objects.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {
namespace {

CqObject& object_of(ibv_cq_ex* cq) { return *Handle<ibv_cq_ex, CqObject>::from(cq); }
const ibv_wc& wc_of(ibv_cq_ex* cq) { return object_of(cq).current; }

// The next completion becomes the one that the read calls look at. 0, ENOENT or another errno.
int take(ibv_cq_ex* abi) {
  CqObject& cq = object_of(abi);
  const int taken = poll_cq(cq.abi(), 1, &cq.current);
  if (taken <= 0) return taken == 0 ? ENOENT : -taken;
  abi->wr_id = cq.current.wr_id;
  abi->status = cq.current.status;
  return 0;
}

void unlock(CqObject& cq) {
  if (!cq.single_threaded) cq.polling.unlock();
}

int start_poll(ibv_cq_ex* abi, ibv_poll_cq_attr* attr) {
  if (abi == nullptr || (attr != nullptr && attr->comp_mask != 0)) return EINVAL;
  CqObject& cq = object_of(abi);
  if (!cq.single_threaded) cq.polling.lock();
  const int error = take(abi);
  if (error != 0) unlock(cq);  // no end_poll follows
  return error;
}

void end_poll(ibv_cq_ex* abi) { unlock(object_of(abi)); }

void set_readers(ibv_cq_ex& cq) {
  cq.read_opcode = [](ibv_cq_ex* self) { return wc_of(self).opcode; };
  cq.read_vendor_err = [](ibv_cq_ex* self) { return wc_of(self).vendor_err; };
  cq.read_byte_len = [](ibv_cq_ex* self) { return wc_of(self).byte_len; };
  // The invalidated key shares the field, as in ibv_wc.
  cq.read_imm_data = [](ibv_cq_ex* self) { return wc_of(self).imm_data; };
  cq.read_qp_num = [](ibv_cq_ex* self) { return wc_of(self).qp_num; };
  cq.read_src_qp = [](ibv_cq_ex* self) { return wc_of(self).src_qp; };
  cq.read_wc_flags = [](ibv_cq_ex* self) { return wc_of(self).wc_flags; };
  cq.read_slid = [](ibv_cq_ex* self) { return uint32_t{wc_of(self).slid}; };
  cq.read_sl = [](ibv_cq_ex* self) { return wc_of(self).sl; };
  cq.read_dlid_path_bits = [](ibv_cq_ex* self) { return wc_of(self).dlid_path_bits; };
  // Nobody may ask for what follows: creation refuses its flags.
  cq.read_completion_ts = [](ibv_cq_ex*) { return uint64_t{0}; };
  cq.read_cvlan = [](ibv_cq_ex*) { return uint16_t{0}; };
  cq.read_flow_tag = [](ibv_cq_ex*) { return uint32_t{0}; };
  cq.read_tm_info = [](ibv_cq_ex*, ibv_wc_tm_info* info) { *info = {}; };
  cq.read_completion_wallclock_ns = [](ibv_cq_ex*) { return uint64_t{0}; };
}

// 0, or the errno for attributes that this device does not have.
int check(const ibv_cq_init_attr_ex& attr) {
  // A CQ here never overruns: its ring grows.
  constexpr uint32_t kFlags =
      IBV_CREATE_CQ_ATTR_SINGLE_THREADED | IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
  if ((attr.wc_flags & ~uint64_t{IBV_WC_STANDARD_FLAGS}) != 0) return EOPNOTSUPP;
  if ((attr.comp_mask & ~uint32_t{IBV_CQ_INIT_ATTR_MASK_FLAGS}) != 0) return EOPNOTSUPP;
  const bool has_flags = (attr.comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) != 0;
  return has_flags && (attr.flags & ~kFlags) != 0 ? EOPNOTSUPP : 0;
}

}  // namespace

ibv_cq_ex* create_cq_ex(ibv_context* context, ibv_cq_init_attr_ex* attr) {
  if (context == nullptr || attr == nullptr) return fail_null(EINVAL);
  if (const int error = check(*attr); error != 0) return fail_null(error);
  CqObject* cq = make_cq(context, attr->cqe, attr->cq_context, attr->channel, attr->comp_vector);
  if (cq == nullptr) return nullptr;
  cq->single_threaded = (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) != 0 &&
                        (attr->flags & IBV_CREATE_CQ_ATTR_SINGLE_THREADED) != 0;
  ibv_cq_ex& out = cq->handle.abi;
  out.start_poll = start_poll;
  out.next_poll = take;
  out.end_poll = end_poll;
  set_readers(out);
  return &out;
}

}  // namespace mrpool::provider
