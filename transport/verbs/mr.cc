#include "transport/verbs/mr.h"

#include <mutex>

#include "transport/verbs/errors.h"
#include "transport/verbs/pd.h"

namespace mrpool::verbs {

VerbsMr::VerbsMr(VerbsPd& pd, ibv_mr* mr, std::span<std::byte> memory, const Granted& granted)
    : pd_(pd), mr_(mr), counted_(pd.counters(), memory.size()) {
  memory_ = memory;
  lkey_ = Lkey{mr->lkey};
  rkey_ = Rkey{mr->rkey};
  remote_addr_ = RemoteAddr{uintptr_t(memory.data())};
  granted_ = granted;
  const std::lock_guard lock(pd_.mutex_);
  pd_.regions_.insert(mr->lkey, this);
}

VerbsMr::~VerbsMr() {
  {
    const std::lock_guard lock(pd_.mutex_);
    pd_.regions_.erase(mr_->lkey);
  }
  pd_.release_windows(*this);
  if (ibv_dereg_mr(mr_) != 0) die("a region cannot be deregistered");
}

}  // namespace mrpool::verbs
