#include "transport/provider/wr_batch.h"

#include <cerrno>

#include "transport/provider/qp_object.h"

namespace mrpool::provider {
namespace {

WrBatch& batch_of(ibv_qp_ex* qp) { return QpObject::from(&qp->qp_base)->batch(); }

ibv_send_wr& add(ibv_qp_ex* qp, ibv_wr_opcode opcode) {
  WrBatch::Item& item = batch_of(qp).items.emplace_back();
  item.wr.wr_id = qp->wr_id;
  item.wr.opcode = opcode;
  item.wr.send_flags = qp->wr_flags;
  return item.wr;
}

ibv_send_wr& add_rdma(ibv_qp_ex* qp, ibv_wr_opcode opcode, uint32_t rkey, uint64_t remote_addr) {
  ibv_send_wr& wr = add(qp, opcode);
  wr.wr.rdma.rkey = rkey;
  wr.wr.rdma.remote_addr = remote_addr;
  return wr;
}

void refuse(ibv_qp_ex* qp) { batch_of(qp).error = EOPNOTSUPP; }

void set_sges(ibv_qp_ex* qp, size_t count, const ibv_sge* sges) {
  WrBatch& batch = batch_of(qp);
  if (!batch.items.empty()) batch.items.back().sges.assign(sges, sges + count);
}

void set_inline(ibv_qp_ex* qp, size_t count, const ibv_data_buf* pieces) {
  WrBatch& batch = batch_of(qp);
  if (batch.items.empty()) return;
  WrBatch::Item& item = batch.items.back();
  for (size_t i = 0; i < count; ++i) {
    const auto* start = static_cast<const std::byte*>(pieces[i].addr);
    item.inline_data.insert(item.inline_data.end(), start, start + pieces[i].length);
  }
  item.wr.send_flags |= IBV_SEND_INLINE;
}

int complete(ibv_qp_ex* qp) {
  QpObject& object = *QpObject::from(&qp->qp_base);
  WrBatch& batch = object.batch();
  int error = batch.error;
  if (ibv_send_wr* chain = batch.chain(); error == 0 && chain != nullptr) {
    const Session session(object.engine());
    error = session.ok() ? object.post_send(chain, nullptr) : EIO;
  }
  batch.clear();
  return error;
}

}  // namespace

ibv_send_wr* WrBatch::chain() {
  ibv_send_wr* next = nullptr;
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if ((item->wr.send_flags & IBV_SEND_INLINE) != 0) {
      item->sges = {{.addr = reinterpret_cast<uintptr_t>(item->inline_data.data()),
                     .length = static_cast<uint32_t>(item->inline_data.size()),
                     .lkey = 0}};
    }
    item->wr.sg_list = item->sges.data();
    item->wr.num_sge = static_cast<int>(item->sges.size());
    item->wr.next = next;
    next = &item->wr;
  }
  return next;
}

void fill_wr_functions(ibv_qp_ex& qp) {
  qp.wr_start = [](ibv_qp_ex* self) { batch_of(self).clear(); };
  qp.wr_complete = complete;
  qp.wr_abort = [](ibv_qp_ex* self) { batch_of(self).clear(); };

  qp.wr_send = [](ibv_qp_ex* self) { add(self, IBV_WR_SEND); };
  qp.wr_send_inv = [](ibv_qp_ex* self, uint32_t rkey) {
    add(self, IBV_WR_SEND_WITH_INV).invalidate_rkey = rkey;
  };
  qp.wr_rdma_write = [](ibv_qp_ex* self, uint32_t rkey, uint64_t addr) {
    add_rdma(self, IBV_WR_RDMA_WRITE, rkey, addr);
  };
  qp.wr_rdma_read = [](ibv_qp_ex* self, uint32_t rkey, uint64_t addr) {
    add_rdma(self, IBV_WR_RDMA_READ, rkey, addr);
  };

  qp.wr_send_imm = [](ibv_qp_ex* self, __be32 imm) {
    add(self, IBV_WR_SEND_WITH_IMM).imm_data = imm;
  };
  qp.wr_rdma_write_imm = [](ibv_qp_ex* self, uint32_t rkey, uint64_t addr, __be32 imm) {
    add_rdma(self, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, addr).imm_data = imm;
  };
  qp.wr_atomic_cmp_swp = [](ibv_qp_ex* self, uint32_t rkey, uint64_t addr, uint64_t compare,
                            uint64_t swap) {
    ibv_send_wr& wr = add(self, IBV_WR_ATOMIC_CMP_AND_SWP);
    wr.wr.atomic = {.remote_addr = addr, .compare_add = compare, .swap = swap, .rkey = rkey};
  };
  qp.wr_atomic_fetch_add = [](ibv_qp_ex* self, uint32_t rkey, uint64_t addr, uint64_t added) {
    ibv_send_wr& wr = add(self, IBV_WR_ATOMIC_FETCH_AND_ADD);
    wr.wr.atomic = {.remote_addr = addr, .compare_add = added, .swap = 0, .rkey = rkey};
  };

  qp.wr_bind_mw = [](ibv_qp_ex* self, ibv_mw* mw, uint32_t rkey, const ibv_mw_bind_info* info) {
    ibv_send_wr& wr = add(self, IBV_WR_BIND_MW);
    wr.bind_mw = {.mw = mw, .rkey = rkey, .bind_info = *info};
  };
  qp.wr_local_inv = [](ibv_qp_ex* self, uint32_t rkey) {
    add(self, IBV_WR_LOCAL_INV).invalidate_rkey = rkey;
  };

  qp.wr_atomic_write = [](ibv_qp_ex* self, uint32_t, uint64_t, const void*) { refuse(self); };
  qp.wr_send_tso = [](ibv_qp_ex* self, void*, uint16_t, uint16_t) { refuse(self); };
  qp.wr_set_ud_addr = [](ibv_qp_ex* self, ibv_ah*, uint32_t, uint32_t) { refuse(self); };
  qp.wr_set_xrc_srqn = [](ibv_qp_ex* self, uint32_t) { refuse(self); };

  qp.wr_set_sge = [](ibv_qp_ex* self, uint32_t lkey, uint64_t addr, uint32_t length) {
    const ibv_sge sge{.addr = addr, .length = length, .lkey = lkey};
    set_sges(self, 1, &sge);
  };
  qp.wr_set_sge_list = set_sges;
  qp.wr_set_inline_data = [](ibv_qp_ex* self, void* addr, size_t length) {
    const ibv_data_buf piece{.addr = addr, .length = length};
    set_inline(self, 1, &piece);
  };
  qp.wr_set_inline_data_list = set_inline;
}

}  // namespace mrpool::provider
