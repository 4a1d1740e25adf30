#include "transport/provider/device_watch.h"

#include "transport/provider/qp_object.h"
#include "transport/uiwarp/peer_observer.h"

namespace mrpool::provider {
namespace {

constexpr unsigned kRights =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

class DeviceWatch final : public uiwarp::PeerObserver {
 public:
  void accessed(const uiwarp::PeerAccess& access, bool admitted) override {
    checker::Checker::get()->peer_accessed({.rkey = access.stag,
                                            .address = access.offset,
                                            .bytes = access.bytes,
                                            .right = to_ibv(access.right) & kRights,
                                            .admitted = admitted});
  }
  void receive_begins(const Completion*) override {}
  void response_begins(const Qp&) override {}
};

}  // namespace

void observe_for_checker() {
  static DeviceWatch watch;
  if (checker::Checker::get() != nullptr) uiwarp::PeerObserver::observe(watch);
}

}  // namespace mrpool::provider
