// Device of uiwarp: its limits, its keys, and what its reactors share.
//
// Thread safety: as in mrpool/device.h.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "mrpool/device.h"
#include "transport/counters/registry.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/open.h"
#include "transport/uiwarp/qp.h"
#include "transport/uiwarp/sanitizer.h"
#include "transport/uiwarp/segment_arena.h"

namespace mrpool::uiwarp {

class UiwarpDevice final : public Device, public std::enable_shared_from_this<UiwarpDevice> {
 public:
  // `seed` is options.seed, or a drawn one.
  UiwarpDevice(const DeviceOptions& options, uint64_t seed, std::shared_ptr<Network> network);

  const DeviceCaps& caps() const override { return caps_; }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override;
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override;
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override;
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override;
  TransportStatistics statistics() const override { return registry_.total(); }
  Network& network() const { return *network_; }

  // Checks the options against the device and makes a Qp that has no stream yet. `call` is
  // "connect" or "accept".
  absl::StatusOr<std::unique_ptr<UiwarpQp>> make_qp(Pd& pd, const QpOptions& options,
                                                    std::span<const std::byte> private_data,
                                                    QpEvents& events, std::string_view call);
  MpaLimits limits(const QpOptions& options) const;
  KeyTable& keys() { return keys_; }
  SegmentArena& segments() { return segments_; }
  CounterRegistry& registry() { return registry_; }
  const OrderingSanitizer* sanitizer() const { return sanitizer_.get(); }
  // All that a Qp is made of belongs to this device and to one reactor.
  absl::Status check_parts(const Pd& pd, const QpOptions& options) const;

 private:
  std::shared_ptr<Context> context(Reactor& reactor);
  absl::Status check_address(const Address& address) const;

  const DeviceOptions options_;
  const std::shared_ptr<Network> network_;
  DeviceCaps caps_;
  const std::unique_ptr<OrderingSanitizer> sanitizer_;  // null: placement is plain
  KeyTable keys_;
  SegmentArena segments_;
  CounterRegistry registry_{zero_statistics()};
  std::atomic<uint64_t> next_id_{1};  // of Pds and Qps
  std::mutex mutex_;
  std::map<Reactor*, std::weak_ptr<Context>> contexts_;
};

}  // namespace mrpool::uiwarp
