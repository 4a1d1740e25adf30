// Two ends of one connection on the device under audit, in one thread.
//
// The owner exposes memory, the peer uses keys. Every probe makes a wire of its own: a violation
// ends the connection, and must.
//
// Thread safety: one thread; everything runs inside run_until().
// Ownership: borrows device, Pds and reactor.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"

namespace mrpool::audit {

// One request's fate.
struct Op : Completion {
  Op() : Completion(to_method<&Op::completed>) {}
  void completed(const WorkCompletion& completion) { wc = completion; }
  std::optional<WorkCompletion> wc;
  bool succeeded() const { return wc.has_value() && wc->status == WcStatus::kSuccess; }
};

class Wire final : private ListenHandler {
 public:
  struct End final : QpEvents {
    void on_connected(Qp&, const ConnectionInfo&) override { connected = true; }
    void on_rejected(Qp&, std::span<const std::byte>) override {}
    void on_disconnected(Qp&, const Disconnect& why) override {
      ended = true;
      reason = std::string(to_string(why.reason));
    }
    std::unique_ptr<Cq> cq;
    std::unique_ptr<Qp> qp;
    bool connected = false;
    bool ended = false;
    std::string reason;
  };

  // Connects `peer_pd` to `owner_pd` through `device`, which listens on a free port of `address`.
  static absl::StatusOr<std::unique_ptr<Wire>> create(Device& device, const Address& address,
                                                      Reactor& reactor, Pd& owner_pd, Pd& peer_pd);

  // Polls until `done` or for a bounded time; false when the time was up.
  template <typename Done>
  bool run_until(Done done, Nanoseconds limit = std::chrono::seconds(5)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      reactor_.poll();
    }
    return true;
  }

  End owner;
  End peer;
  Reactor& reactor() { return reactor_; }

 private:
  Wire(Reactor& reactor, Pd& owner_pd) : reactor_(reactor), owner_pd_(owner_pd) {}
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
  QpOptions options_for(End& end) const;

  Reactor& reactor_;
  Pd& owner_pd_;
  std::unique_ptr<Listener> listener_;
  absl::Status accepted_;
};

}  // namespace mrpool::audit
