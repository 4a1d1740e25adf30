// A listener and the address that requested it.
//
// Thread safety: worker 0's thread, which runs all listeners. Any thread may read `address` and
// `port` once it is open. Ownership: the service owns it.
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
  // `numeric` is the resolved host of the address.
  Port(Service& service, DeviceContext& device, Address where, std::string numeric)
      : address(std::move(where)),
        numeric_host(std::move(numeric)),
        service_(service),
        device_(device) {}

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
  void on_listen_error(const absl::Status& error) override;
  const DeviceContext& device() const { return device_; }

  Address address;  // once open, with the actual port
  const std::string numeric_host;
  std::unique_ptr<Listener> listener;

 private:
  Service& service_;
  DeviceContext& device_;
};

}  // namespace mrpool::engine
