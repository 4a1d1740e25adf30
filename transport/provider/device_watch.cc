#include "transport/provider/device_watch.h"

#include "transport/provider/qp_object.h"
#include "transport/uiwarp/peer_observer.h"

namespace mrpool::provider {
namespace {

constexpr unsigned kRights =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

class DeviceWatch final : public uiwarp::PeerObserver {
 public:
  explicit DeviceWatch(const Engine& engine) : engine_(engine) {}
  void accessed(const uiwarp::PeerAccess& access, bool admitted) override {
    checker::Checker::get()->peer_accessed({.rkey = access.stag,
                                            .address = access.offset,
                                            .bytes = access.bytes,
                                            .right = to_ibv(access.right) & kRights,
                                            .admitted = admitted});
  }
  void receive_begins(const Completion* completion) override {
    checker::Checker::get()->receive_begins(completion);
  }
  void response_begins(const Qp& qp) override {
    const QpObject* const owner = engine_.owner_of(&qp);
    if (owner != nullptr) checker::Checker::get()->response_begins(owner->number());
  }

 private:
  const Engine& engine_;
};

}  // namespace

void observe_for_checker(const Engine& engine) {
  if (checker::Checker::get() == nullptr) return;
  // As the engine, it lives until the process ends.
  uiwarp::PeerObserver::observe(*new DeviceWatch(engine));
}

}  // namespace mrpool::provider
