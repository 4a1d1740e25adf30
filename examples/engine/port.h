// A listener with the address it was asked for by.
//
// Thread safety: worker 0's thread, where all listeners live; `address` and `port` are read by
// anyone once it is open. Ownership: the service's.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "examples/engine/portals.h"
#include "mrpool/device.h"

namespace mrpool::engine {

class DeviceContext;
class Service;

class Port final : public ListenHandler {
 public:
  // `numeric` is what the address's host leads to.
  Port(Service& service, DeviceContext& device, Address where, std::string numeric)
      : address(std::move(where)),
        numeric_host(std::move(numeric)),
        service_(service),
        device_(device) {}

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
  void on_listen_error(const absl::Status& error) override;
  const DeviceContext& device() const { return device_; }

  Address address;  // once open, with the port in use
  const std::string numeric_host;
  std::unique_ptr<Listener> listener;

 private:
  Service& service_;
  DeviceContext& device_;
};

}  // namespace mrpool::engine
