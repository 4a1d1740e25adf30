#include "transport/provider/checked_work.h"

namespace mrpool::provider {
namespace {

checker::Operation operation_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::kRdmaWrite:
    case Opcode::kRdmaWriteWithImm:
      return checker::Operation::kWrite;
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return checker::Operation::kRead;
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      return checker::Operation::kAtomic;
    default:
      return checker::Operation::kSend;
  }
}

template <class Wr>
std::span<const ibv_sge> sges_of(const Wr& wr) {
  return {wr.sg_list, static_cast<size_t>(wr.num_sge)};
}

void tell_bound(const ibv_send_wr& wr, const MwBind& bind) {
  const ibv_mw_bind_info& info = wr.bind_mw.bind_info;
  if (info.mr == nullptr) return;
  Checker::get()->window_bound({.rkey = bind.key(),
                                .lkey = info.mr->lkey,
                                .start = reinterpret_cast<uintptr_t>(bind.range.addr),
                                .zero_based = has(bind.access, Access::kZeroBased),
                                .bound = {}});
}

}  // namespace

void tell_posted(const ibv_send_wr& wr, const SendEntry& entry) {
  if (entry.opcode == Opcode::kRegMr) tell_bound(wr, entry.bind);
  const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
  Checker::get()->posted_send({.operation = operation_of(entry.opcode),
                               .wr_id = wr.wr_id,
                               .qp_num = entry.qp->abi()->qp_num,
                               .signalled = entry.signalled,
                               .sges = is_inline ? std::span<const ibv_sge>{} : sges_of(wr),
                               .memory = entry.sges});
}

void tell_posted(const ibv_recv_wr& wr, const ReceiveEntry& entry, uint32_t qp_num) {
  Checker::get()->posted_receive({.operation = checker::Operation::kReceive,
                                  .wr_id = wr.wr_id,
                                  .qp_num = qp_num,
                                  .signalled = true,
                                  .sges = sges_of(wr),
                                  .memory = entry.sges},
                                 completion_of(entry));
}

}  // namespace mrpool::provider
