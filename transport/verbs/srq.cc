#include "transport/verbs/srq.h"

#include <cerrno>

#include "transport/checks/limits.h"
#include "transport/verbs/cq.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/pd.h"
#include "transport/verbs/requests.h"

namespace mrpool::verbs {

absl::StatusOr<std::unique_ptr<VerbsSrq>> VerbsSrq::create(VerbsPd& pd, Reactor& reactor,
                                                           const SrqOptions& options) {
  const ibv_device_attr& limits = pd.device().attributes();
  const std::string& name = pd.caps().name;
  check_thread(reactor, "Pd::create_srq");
  if (absl::Status status = checks::check_srq_options(options, uint64_t(limits.max_srq_wr),
                                                      uint64_t(limits.max_srq_sge), name);
      !status.ok()) {
    return status;
  }
  ibv_srq_init_attr attr{};
  attr.attr.max_wr = options.max_wr;
  attr.attr.max_sge = options.max_sge;
  ibv_srq* srq = ibv_create_srq(pd.get(), &attr);
  if (srq == nullptr) return errno_status(errno, "creating a shared receive queue", name);
  return std::make_unique<VerbsSrq>(pd, reactor, options, srq);
}

VerbsSrq::VerbsSrq(VerbsPd& pd, Reactor& reactor, const SrqOptions& options, ibv_srq* srq)
    : pd_(pd),
      reactor_(reactor),
      max_sge_(options.max_sge),
      srq_(srq),
      posted_(options.max_wr),
      limit_(*this, reactor, options.events) {
  free_.reserve(options.max_wr);
  for (uint32_t slot = options.max_wr; slot-- > 0;) free_.push_back(slot);
}

VerbsSrq::~VerbsSrq() {
  if (ibv_destroy_srq(srq_) != 0) die("an Srq was destroyed before its Qps");
  for (Completion* completion : posted_) {
    if (completion == nullptr) continue;
    WorkCompletion wc;
    wc.status = WcStatus::kFlushed;
    wc.opcode = Opcode::kRecv;
    completion->done(wc);
  }
}

PostStatus VerbsSrq::post_recv(const RecvRequest& chain) {
  check_post_thread(reactor_, "Srq::post_recv");
  for (const RecvRequest* request = &chain; request != nullptr; request = request->next) {
    if (free_.empty()) return PostStatus::kQueueFull;
    if (const PostStatus status = check_recv(pd_, *request, max_sge_); status != PostStatus::kOk) {
      return status;
    }
    const uint32_t slot = free_.back();
    ibv_recv_wr wr = to_ibv(*request);
    wr.wr_id = make_wr_id(0, WrKind::kSrq, slot);
    ibv_recv_wr* bad = nullptr;
    if (ibv_post_srq_recv(srq_, &wr, &bad) != 0) return PostStatus::kQueueFull;
    free_.pop_back();
    posted_[slot] = request->completion;
  }
  return PostStatus::kOk;
}

absl::Status VerbsSrq::arm_limit(uint32_t limit) {
  check_thread(reactor_, "Srq::arm_limit");
  return limit_.arm(limit, uint32_t(capacity()));
}

Completion* VerbsSrq::take(uint32_t slot) {
  Completion* completion = posted_[slot];
  posted_[slot] = nullptr;
  free_.push_back(slot);
  limit_.check(posted());
  return completion;
}

}  // namespace mrpool::verbs
