// The resources to read from a peer before it is admitted: a small buffer, its registration, one MR
// and an RwContext. They belong to this link alone. So a peer that is not admitted neither uses nor
// waits for resources that connections share.
//
// Thread safety: the worker's thread. Ownership: the link owns it; it outlives the Qp's use of it.
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

  // Posts an RDMA READ of `from` into the buffer at `offset`. PostStatus as RwContext::start.
  PostStatus read(RwOperation& operation, uint32_t offset, const RemoteBuffer& from);
  std::span<const std::byte> data() const { return pages_.memory(); }
  // The Qp is disconnected.
  void stop() { rw_->stop(); }

 private:
  EarlyRoom() = default;

  Pages pages_;
  std::unique_ptr<Mr> mr_;
  std::unique_ptr<MrPool> pool_;  // of one MR; null if the device does not need one
  std::unique_ptr<RwContext> rw_;
};

}  // namespace mrpool::engine
