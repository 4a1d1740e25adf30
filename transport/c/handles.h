// The objects of the handles of mrpool.h. Most handles are the C++ object's own address; those
// that call the program back, and the device, are structs.
//
// Thread safety and ownership: those of mrpool.h.
#pragma once

#include <memory>
#include <type_traits>

#include "mrpool.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/reactor.h"
#include "mrpool/rw.h"

struct mrpool_device {
  std::shared_ptr<mrpool::Device> device;
};

struct mrpool_qp final : mrpool::QpEvents {
  void on_connected(mrpool::Qp& qp, const mrpool::ConnectionInfo& info) override;
  void on_rejected(mrpool::Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(mrpool::Qp& qp, const mrpool::Disconnect& why) override;

  std::unique_ptr<mrpool::Qp> qp;
  mrpool_qp_events events{};
  void* context = nullptr;
};

struct mrpool_listener final : mrpool::ListenHandler {
  void on_connect_request(std::unique_ptr<mrpool::ConnectRequest> request) override;
  void on_listen_error(const absl::Status& error) override;

  std::unique_ptr<mrpool::Listener> listener;
  mrpool_listen_events events{};
  void* context = nullptr;
};

struct mrpool_rw {
  std::unique_ptr<mrpool::RwContext> context;
  mrpool_qp* qp;
};

namespace mrpool::c {

// Which object a handle stands for: for decltype only.
Reactor* stands_for(const mrpool_reactor*);
Pd* stands_for(const mrpool_pd*);
Mr* stands_for(const mrpool_mr*);
Cq* stands_for(const mrpool_cq*);
MrPool* stands_for(const mrpool_mr_pool*);
ConnectRequest* stands_for(const mrpool_connect_request*);
template <typename Handle>
using ObjectOf = std::remove_pointer_t<decltype(stands_for(static_cast<const Handle*>(nullptr)))>;

template <typename Handle>
auto* object(Handle* handle) {
  return reinterpret_cast<ObjectOf<Handle>*>(handle);
}
template <typename Handle>
const auto* object(const Handle* handle) {
  return reinterpret_cast<const ObjectOf<Handle>*>(handle);
}
template <typename Handle, typename Object>
Handle* handle(std::unique_ptr<Object> object) {
  static_assert(std::is_same_v<ObjectOf<Handle>, Object>);
  return reinterpret_cast<Handle*>(object.release());
}

// A lease for one call: the handle keeps it.
class Borrowed {
 public:
  explicit Borrowed(const mrpool_lease* lease)
      : lease_(MrPool::Lease::adopt(
            reinterpret_cast<MrPool::Entry*>(const_cast<mrpool_lease*>(lease)))) {}
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() { (void)lease_.release(); }
  MrPool::Lease* operator->() { return &lease_; }

 private:
  MrPool::Lease lease_;
};

// The same numbers and the same memory on both sides.
inline std::span<const Sge> sges(const mrpool_sge* list, size_t count) {
  static_assert(sizeof(mrpool_sge) == sizeof(Sge) && alignof(mrpool_sge) == alignof(Sge));
  static_assert(offsetof(mrpool_sge, addr) == offsetof(Sge, addr));
  static_assert(offsetof(mrpool_sge, length) == offsetof(Sge, length));
  static_assert(offsetof(mrpool_sge, lkey) == offsetof(Sge, lkey));
  return {reinterpret_cast<const Sge*>(list), count};
}
inline std::span<const std::byte> bytes(const void* data, size_t length) {
  return {static_cast<const std::byte*>(data), data == nullptr ? 0 : length};
}

}  // namespace mrpool::c
