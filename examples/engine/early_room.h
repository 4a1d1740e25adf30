// What a link reads from a peer before that is admitted: a little memory, its registration, one MR
// and an RwContext, all the link's own. So strangers take nothing that connections share, and wait
// for nothing that others hold.
//
// Thread safety: the worker's thread. Ownership: the link's; outlives its Qp's use of it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "examples/engine/device_context.h"
#include "examples/engine/staging.h"
#include "mrpool/mr.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/rw.h"

namespace mrpool::engine {

class EarlyRoom {
 public:
  // To add to QpOptions::max_send_wr.
  static uint32_t send_wr(DeviceContext& device);
  static absl::StatusOr<std::unique_ptr<EarlyRoom>> create(DeviceContext& device, Qp& qp);

  // RDMA READ of `from` into the room, from `offset` on. PostStatus as RwContext::start.
  PostStatus read(RwOperation& operation, uint32_t offset, const RemoteBuffer& from);
  std::span<const std::byte> data() const { return pages_.memory(); }
  // The Qp is disconnected.
  void stop() { rw_->stop(); }

 private:
  EarlyRoom() = default;

  Pages pages_;
  std::unique_ptr<Mr> mr_;
  std::unique_ptr<MrPool> pool_;  // of one; null where the device needs none
  std::unique_ptr<RwContext> rw_;
};

}  // namespace mrpool::engine
