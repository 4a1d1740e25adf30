#include "transport/c/work.h"

#include <memory>
#include <new>

#include "transport/c/error.h"
#include "transport/c/handles.h"

namespace mrpool::c {
namespace {

static_assert(MRPOOL_WR_SEND == int(Opcode::kSend));
static_assert(MRPOOL_WR_SEND_WITH_INV == int(Opcode::kSendWithInv));
static_assert(MRPOOL_WR_RDMA_WRITE == int(Opcode::kRdmaWrite));
static_assert(MRPOOL_WR_RDMA_READ == int(Opcode::kRdmaRead));
static_assert(MRPOOL_WR_RDMA_READ_WITH_INV == int(Opcode::kRdmaReadWithInv));
static_assert(MRPOOL_WR_REG_MR == int(Opcode::kRegMr));
static_assert(MRPOOL_WR_LOCAL_INV == int(Opcode::kLocalInv));
static_assert(MRPOOL_WR_SEND_WITH_IMM == int(Opcode::kSendWithImm));
static_assert(MRPOOL_WR_RDMA_WRITE_WITH_IMM == int(Opcode::kRdmaWriteWithImm));
static_assert(MRPOOL_WR_ATOMIC_CMP_AND_SWP == int(Opcode::kCompareSwap));
static_assert(MRPOOL_WR_ATOMIC_FETCH_AND_ADD == int(Opcode::kFetchAdd));
static_assert(MRPOOL_WC_RECV == int(Opcode::kRecv));
static_assert(MRPOOL_WC_RECV_WITH_IMM == int(Opcode::kRecvWithImm));
static_assert(MRPOOL_WC_RECV_RDMA_WITH_IMM == int(Opcode::kRecvRdmaWithImm));
static_assert(MRPOOL_WC_SUCCESS == int(WcStatus::kSuccess));
static_assert(MRPOOL_WC_WR_FLUSH_ERR == int(WcStatus::kFlushed));
static_assert(MRPOOL_WC_REM_ACCESS_ERR == int(WcStatus::kRemoteAccess));
static_assert(MRPOOL_WC_CANCELLED == int(WcStatus::kCancelled));

// Requests that are handed over in one call; a longer chain takes several.
constexpr size_t kBatch = 16;

// The requests of one call, on the stack: only what is used is made.
template <typename Request>
class Batch {
 public:
  Request* place(size_t index) { return reinterpret_cast<Request*>(storage_) + index; }
  Request& operator[](size_t index) { return *std::launder(place(index)); }

 private:
  alignas(Request) unsigned char storage_[kBatch * sizeof(Request)];
};

struct Posted {
  PostStatus status;
  size_t taken;
};
Posted post(mrpool_qp& qp, Batch<WorkRequest>& batch, size_t count) {
  const PostResult result = qp.qp->post_send(batch[0]);
  return {result.status, result.ok() ? count : size_t(result.refused - &batch[0])};
}
// The Qp does not report which receive it refused, so this posts one at a time.
Posted post(mrpool_qp& qp, Batch<RecvRequest>& batch, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    batch[i].next = nullptr;
    const PostStatus status = qp.qp->post_recv(batch[i]);
    if (status != PostStatus::kOk) return {status, i};
  }
  return {PostStatus::kOk, count};
}

template <typename Request, typename Wr>
int post_chain(mrpool_qp& qp, const Wr* chain, const Wr** bad) {
  Batch<Request> batch;
  while (chain != nullptr) {
    PostStatus made = PostStatus::kOk;
    size_t count = 0;
    for (const Wr* wr = chain; wr != nullptr && count < kBatch; wr = wr->next, ++count) {
      made = make_request(*wr, qp, batch.place(count));
      if (made != PostStatus::kOk) break;
      if (count > 0) batch[count - 1].next = &batch[count];
    }
    Posted posted{PostStatus::kOk, 0};
    if (count > 0) posted = post(qp, batch, count);
    for (size_t i = 0; i < posted.taken; ++i) chain = chain->next;
    if (posted.status == PostStatus::kOk) posted.status = made;
    if (posted.status != PostStatus::kOk) {
      if (bad != nullptr) *bad = chain;
      return post_error(posted.status);
    }
  }
  return 0;
}

}  // namespace

void CqeCompletion::call(Completion& self, const WorkCompletion& wc) {
  auto& made = static_cast<CqeCompletion&>(self);
  auto* const place = reinterpret_cast<char*>(&made) - offsetof(mrpool_cqe, opaque);
  auto* const cqe = reinterpret_cast<mrpool_cqe*>(place);
  const mrpool_wc told{.status = int32_t(wc.status),
                       .opcode = uint32_t(wc.opcode),
                       .qp = made.qp,
                       .byte_len = wc.byte_len,
                       .imm = wc.imm,
                       .invalidated_rkey = wc.invalidated_rkey.value,
                       .invalidated = wc.invalidated,
                       .solicited = wc.solicited,
                       .reserved = {}};
  cqe->done(cqe, &told);
}

Completion* completion(mrpool_cqe* cqe, mrpool_qp& qp) {
  static_assert(sizeof(CqeCompletion) <= sizeof(cqe->opaque));
  if (cqe == nullptr) return nullptr;
  return new (static_cast<void*>(cqe->opaque)) CqeCompletion(&qp);
}

PostStatus make_request(const mrpool_recv_wr& from, mrpool_qp& qp, RecvRequest* place) {
  new (place)
      RecvRequest{.completion = completion(from.cqe, qp), .sges = sges(from.sg_list, from.num_sge)};
  return PostStatus::kOk;
}

PostStatus make_request(const mrpool_send_wr& from, mrpool_qp& qp, WorkRequest* place) {
  if (from.opcode > MRPOOL_WR_ATOMIC_FETCH_AND_ADD) return PostStatus::kUnsupported;
  constexpr uint32_t kFlags = MRPOOL_SEND_SIGNALED | MRPOOL_SEND_SOLICITED | MRPOOL_SEND_FENCE;
  if ((from.send_flags & ~kFlags) != 0) return PostStatus::kUnsupported;
  FastMr* mr = nullptr;
  if (from.opcode == MRPOOL_WR_REG_MR) {
    if (from.mr == nullptr) return PostStatus::kBadKey;
    mr = &Borrowed(from.mr)->mr();
  }
  new (place) WorkRequest{.completion = completion(from.cqe, qp),
                          .opcode = Opcode(from.opcode),
                          .signalled = (from.send_flags & MRPOOL_SEND_SIGNALED) != 0,
                          .solicited = (from.send_flags & MRPOOL_SEND_SOLICITED) != 0,
                          .fence = (from.send_flags & MRPOOL_SEND_FENCE) != 0,
                          .sges = sges(from.sg_list, from.num_sge),
                          .remote_addr = {from.remote_addr},
                          .rkey = {from.rkey},
                          .mr = mr,
                          .access = Access::from_bits(from.access),
                          .imm = from.imm,
                          .compare_add = from.compare_add,
                          .swap = from.swap};
  return PostStatus::kOk;
}

}  // namespace mrpool::c

int mrpool_post_send(mrpool_qp* qp, const mrpool_send_wr* wr, const mrpool_send_wr** bad_wr) {
  if (qp == nullptr) return -EINVAL;
  return mrpool::c::post_chain<mrpool::WorkRequest>(*qp, wr, bad_wr);
}

int mrpool_post_recv(mrpool_qp* qp, const mrpool_recv_wr* wr, const mrpool_recv_wr** bad_wr) {
  if (qp == nullptr) return -EINVAL;
  return mrpool::c::post_chain<mrpool::RecvRequest>(*qp, wr, bad_wr);
}
