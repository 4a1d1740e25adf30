// A listener with the address it was asked for by.
//
// Thread safety: worker 0's thread, where all listeners live; `address` and `port` are read by
// anyone once it is open. Ownership: the service's.
#pragma once

#include <memory>
#include <utility>

#include "mrpool/device.h"

namespace mrpool::engine {

class DeviceContext;
class Service;

class Port final : public ListenHandler {
 public:
  Port(Service& service, DeviceContext& device, Address where)
      : address(std::move(where)), service_(service), device_(device) {}

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
  const DeviceContext& device() const { return device_; }

  Address address;  // once open, with the port in use
  std::unique_ptr<Listener> listener;

 private:
  Service& service_;
  DeviceContext& device_;
};

}  // namespace mrpool::engine
