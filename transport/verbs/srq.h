// Shared receive queues.
//
// Receives are taken by the device in the order they were posted, but complete in the order the
// messages of several queue pairs end; so slots are kept on a free list.
//
// Thread safety: the reactor's thread. Ownership: borrows the Pd.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <vector>

#include "mrpool/device.h"
#include "transport/checks/srq_limit.h"

namespace mrpool::verbs {

class VerbsPd;

class VerbsSrq final : public Srq {
 public:
  static absl::StatusOr<std::unique_ptr<VerbsSrq>> create(VerbsPd& pd, Reactor& reactor,
                                                          const SrqOptions& options);
  VerbsSrq(VerbsPd& pd, Reactor& reactor, const SrqOptions& options, ibv_srq* srq);
  ~VerbsSrq() override;

  PostStatus post_recv(const RecvRequest& chain) override;

  uint32_t posted() const override { return uint32_t(posted_.size() - free_.size()); }
  absl::Status arm_limit(uint32_t limit) override;

  ibv_srq* get() const { return srq_; }
  const VerbsPd& pd() const { return pd_; }
  const Reactor& reactor() const { return reactor_; }
  size_t capacity() const { return posted_.size(); }
  // The completion of a receive that the device is done with.
  Completion* take(uint32_t slot);

 private:
  VerbsPd& pd_;
  Reactor& reactor_;
  const uint32_t max_sge_;
  ibv_srq* srq_;
  std::vector<Completion*> posted_;  // by slot; null when free
  std::vector<uint32_t> free_;
  checks::SrqLimit limit_;
};

}  // namespace mrpool::verbs
