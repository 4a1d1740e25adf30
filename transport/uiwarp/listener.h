// The accepting side of connection set-up: reads each new stream's MPA request under a deadline and
// asks the program.
//
// Bounded: a stream that does not complete its request within kSetupTime is closed, and when more
// than kMaxPending are at it, the one that is at it longest makes room.
//
// Thread safety: its reactor's thread; a ConnectRequest may be answered on another one's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mrpool/device.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/stream.h"

namespace mrpool::uiwarp {

class UiwarpDevice;

class UiwarpListener final : public Listener, public AcceptHandler {
 public:
  static constexpr size_t kMaxPending = 512;
  static constexpr Nanoseconds kSetupTime = std::chrono::seconds(5);
  static constexpr Nanoseconds kReportTime = std::chrono::seconds(1);
  static constexpr uint32_t kMaxReports = 8;

  UiwarpListener(std::shared_ptr<UiwarpDevice> device, std::shared_ptr<Context> context,
                 ListenHandler& handler);
  ~UiwarpListener() override;
  absl::Status open(Network& network, const Address& address);

  uint16_t port() const override { return listener_->port(); }
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_accept_error(const absl::Status& error) override;

 private:
  class Handshake;
  void forget(const Handshake& handshake);
  void count_dropped();
  // Writes a line to the log, for the administrator of this side; kMaxReports in kReportTime.
  void report(const Stream& stream, const std::string& why);

  std::shared_ptr<UiwarpDevice> device_;
  std::shared_ptr<Context> context_;
  ListenHandler& handler_;
  std::vector<std::unique_ptr<Handshake>> pending_;  // oldest first
  std::unique_ptr<StreamListener> listener_;
  Nanoseconds report_end_{};
  uint32_t reports_ = 0;
  uint64_t unreported_ = 0;
};

}  // namespace mrpool::uiwarp
