// Device, Pd and Mr of uiwarp.
//
// Thread safety: as mrpool/device.h says.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "mrpool/device.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/device.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/queue_pair.h"
#include "transport/uiwarp/sanitizer.h"

namespace mrpool::uiwarp {

class SoftDevice final : public Device, public std::enable_shared_from_this<SoftDevice> {
 public:
  // `seed` is options.seed, or a drawn one.
  SoftDevice(const DeviceOptions& options, uint64_t seed, std::shared_ptr<Network> network);

  const DeviceCaps& caps() const override { return caps_; }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override;
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override;
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override;
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override;

  // Checks the options against the device and makes a Qp that has no stream yet.
  absl::StatusOr<std::unique_ptr<QueuePair>> make_qp(Pd& pd, const QpOptions& options,
                                                     std::span<const std::byte> private_data,
                                                     QpEvents& events);
  MpaLimits limits(const QpOptions& options) const;
  KeyTable& keys() { return keys_; }
  const OrderingSanitizer* sanitizer() const { return sanitizer_.get(); }

 private:
  std::shared_ptr<Context> context(Reactor& reactor);

  const bool crc_;
  const std::shared_ptr<Network> network_;
  DeviceCaps caps_;
  const std::unique_ptr<OrderingSanitizer> sanitizer_;  // null: placement is plain
  KeyTable keys_;
  std::atomic<uint64_t> next_id_{1};  // of Pds and Qps
  std::mutex mutex_;
  std::map<Reactor*, std::weak_ptr<Context>> contexts_;
};

class ProtectionDomain final : public Pd {
 public:
  ProtectionDomain(std::shared_ptr<SoftDevice> device, uint64_t id)
      : device_(std::move(device)), id_(id) {}

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override;
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override;
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                  const SrqOptions& options) override;
  const DeviceCaps& caps() const override { return device_->caps(); }
  uint64_t id() const { return id_; }

 private:
  const std::shared_ptr<SoftDevice> device_;
  const uint64_t id_;
};

// Memory registered for good: one segment, open from the start.
class BaseKey final : public Mr {
 public:
  BaseKey(KeyTable& keys, KeySlot* slot, uint32_t stag, uint64_t pd, std::span<std::byte> memory,
          const Granted& granted);
  ~BaseKey() override;

 private:
  KeyTable& keys_;
  KeySlot* const slot_;
  Segment segment_;
};

}  // namespace mrpool::uiwarp
