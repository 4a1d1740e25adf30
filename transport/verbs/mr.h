// Mr of verbs: a base region, registered as long as the Mr lives.
//
// Thread safety: as in mrpool/mr.h. Ownership: borrows the Pd.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <span>

#include "mrpool/mr.h"
#include "transport/counters/pd_counters.h"

namespace mrpool::verbs {

class VerbsPd;

class VerbsMr final : public Mr {
 public:
  VerbsMr(VerbsPd& pd, ibv_mr* mr, std::span<std::byte> memory, const Granted& granted);
  ~VerbsMr() override;

  ibv_mr* get() const { return mr_; }
  bool covers(const Sge& sge) const {
    const auto start = uintptr_t(memory_.data());
    const auto addr = uintptr_t(sge.addr);
    return addr >= start && addr - start <= memory_.size() &&
           sge.length <= memory_.size() - (addr - start);
  }
  bool allows(Access access) const { return has(granted_.requested, access); }

 private:
  VerbsPd& pd_;
  ibv_mr* mr_;
  const CountedRegion counted_;
};

}  // namespace mrpool::verbs
