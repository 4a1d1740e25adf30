// Who may reach which memory: rights of a QP, of a region that is registered again, and of an
// imported one; and what the sender of a SEND that its peer cannot take learns. Run by
// mrpool-run --completions=acknowledged; prints each line that does not hold and ends with 1 then.
#include <infiniband/verbs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "probe.h"

namespace {

constexpr int kAll = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                     IBV_ACCESS_REMOTE_ATOMIC;
alignas(8) char memory[4096];
alignas(8) char other[4096];

struct Operation {
  enum ibv_wr_opcode opcode;
  uint32_t rkey;
};

// How an operation of `from` on the first eight bytes of `memory` ends.
ibv_wc_status attempt(const End& from, const ibv_mr& local, const Operation& operation) {
  ibv_sge sge = {.addr = reinterpret_cast<uintptr_t>(other), .length = 8, .lkey = local.lkey};
  ibv_send_wr wr = {.sg_list = &sge, .num_sge = 1, .opcode = operation.opcode};
  if (operation.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    wr.wr.atomic.remote_addr = reinterpret_cast<uintptr_t>(memory);
    wr.wr.atomic.rkey = operation.rkey;
  } else {
    wr.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(memory);
    wr.wr.rdma.rkey = operation.rkey;
  }
  ibv_send_wr* bad = nullptr;
  EXPECT(ibv_post_send(from.qp, &wr, &bad) == 0);
  return next(from.cq).status;
}

struct Pair {
  explicit Pair(ibv_pd* target, int rights = -1)
      : from(make_end(pd)), to(make_end(target, nullptr, rights)) {
    meet(from.qp, to.qp->qp_num);
    meet(to.qp, from.qp->qp_num);
  }
  ~Pair() {
    destroy(from);
    destroy(to);
  }
  End from;
  End to;
};

// The region admits everything; what the QP does not is refused.
void rights_of_a_qp() {
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, kAll);
  ibv_mr* local = ibv_reg_mr(pd, other, sizeof other, IBV_ACCESS_LOCAL_WRITE);
  const struct {
    enum ibv_wr_opcode opcode;
    int right;
  } cases[] = {{IBV_WR_RDMA_WRITE, IBV_ACCESS_REMOTE_WRITE},
               {IBV_WR_RDMA_READ, IBV_ACCESS_REMOTE_READ},
               {IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_ACCESS_REMOTE_ATOMIC}};
  for (const auto& each : cases) {
    const Operation operation = {each.opcode, mr->rkey};
    EXPECT(attempt(Pair(pd, each.right).from, *local, operation) == IBV_WC_SUCCESS);
    EXPECT(attempt(Pair(pd, kAll & ~each.right).from, *local, operation) == IBV_WC_REM_ACCESS_ERR);
  }
  // Rights change while it is connected. Those of the provider's credits do not.
  const Pair pair(pd, 0);
  ibv_qp_attr to = {.qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
  EXPECT(ibv_modify_qp(pair.to.qp, &to, IBV_QP_ACCESS_FLAGS) == 0);
  EXPECT(attempt(pair.from, *local, {IBV_WR_RDMA_WRITE, mr->rkey}) == IBV_WC_SUCCESS);
  EXPECT(ibv_dereg_mr(local) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
}

// Other rights leave the keys as they are; other memory does not.
void keys_after_rereg() {
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, kAll);
  ibv_mr* local = ibv_reg_mr(pd, other, sizeof other, IBV_ACCESS_LOCAL_WRITE);
  const uint32_t lkey = mr->lkey;
  const uint32_t rkey = mr->rkey;
  EXPECT(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0,
                      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE) == 0);
  EXPECT(mr->lkey == lkey && mr->rkey == rkey);
  EXPECT(attempt(Pair(pd).from, *local, {IBV_WR_RDMA_WRITE, rkey}) == IBV_WC_SUCCESS);
  EXPECT(attempt(Pair(pd).from, *local, {IBV_WR_RDMA_READ, rkey}) == IBV_WC_REM_ACCESS_ERR);
  // What is refused changes nothing.
  EXPECT(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0,
                      IBV_ACCESS_REMOTE_WRITE) != 0);
  EXPECT(attempt(Pair(pd).from, *local, {IBV_WR_RDMA_WRITE, rkey}) == IBV_WC_SUCCESS);
  EXPECT(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, nullptr, memory, 64, 0) == 0);
  EXPECT(mr->rkey != rkey && mr->length == 64);
  EXPECT(ibv_dereg_mr(local) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
}

// A second context of the same device file shares PDs and regions.
void imports() {
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, kAll);
  ibv_mr* local = ibv_reg_mr(pd, other, sizeof other, IBV_ACCESS_LOCAL_WRITE);
  EXPECT(context->cmd_fd >= 0);
  ibv_context* second = ibv_import_device(dup(context->cmd_fd));
  EXPECT(second != nullptr);
  EXPECT_REFUSED(ibv_import_device(STDOUT_FILENO), EOPNOTSUPP);
  EXPECT_REFUSED(ibv_import_device(-1), EOPNOTSUPP);
  EXPECT_REFUSED(ibv_import_pd(second, pd->handle + 1000), EINVAL);
  ibv_pd* shared = ibv_import_pd(second, pd->handle);
  EXPECT(shared != nullptr && shared->context == second);
  EXPECT_REFUSED(ibv_import_mr(shared, mr->handle + 1), EINVAL);
  ibv_mr* imported = ibv_import_mr(shared, mr->handle);
  EXPECT(imported != nullptr && imported->rkey == mr->rkey && imported->addr == nullptr);
  EXPECT(ibv_dealloc_pd(shared) == EINVAL);
  EXPECT(ibv_dereg_mr(imported) == EINVAL);
  {
    const Pair pair(shared);
    EXPECT(attempt(pair.from, *local, {IBV_WR_RDMA_WRITE, imported->rkey}) == IBV_WC_SUCCESS);
    EXPECT(ibv_dealloc_pd(pd) == EBUSY);
    ibv_unimport_mr(imported);
    ibv_unimport_pd(shared);  // before its QP, as pyverbs does
  }
  EXPECT(ibv_close_device(second) == 0);
  // A descriptor of a context that has no handle of that PD.
  ibv_device** list = ibv_get_device_list(nullptr);
  ibv_context* stranger = ibv_open_device(list[0]);
  ibv_free_device_list(list);
  EXPECT_REFUSED(ibv_import_pd(stranger, pd->handle), EINVAL);
  EXPECT(ibv_close_device(stranger) == 0);
  EXPECT(ibv_dereg_mr(local) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
}

// The receive names memory that is not registered any more.
void send_that_fails_there() {
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, IBV_ACCESS_LOCAL_WRITE);
  ibv_mr* local = ibv_reg_mr(pd, other, sizeof other, IBV_ACCESS_LOCAL_WRITE);
  const Pair pair(pd);
  ibv_sge sge = {.addr = reinterpret_cast<uintptr_t>(memory), .length = 64, .lkey = mr->lkey};
  ibv_recv_wr wr = {.sg_list = &sge, .num_sge = 1};
  ibv_recv_wr* bad = nullptr;
  EXPECT(ibv_post_recv(pair.to.qp, &wr, &bad) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
  EXPECT(attempt(pair.from, *local, {IBV_WR_SEND, 0}) == IBV_WC_REM_OP_ERR);
  EXPECT(next(pair.to.cq).status == IBV_WC_LOC_PROT_ERR);
  EXPECT(ibv_dereg_mr(local) == 0);
}

}  // namespace

int main() {
  open_device();
  rights_of_a_qp();
  keys_after_rereg();
  imports();
  send_that_fails_there();
  close_device();
  return failures != 0;
}
