#include "tests/sim/planted_device.h"

#include <utility>

#include "tests/sim/device_wrapper.h"

namespace mrpool::sim {

namespace {

class PlantedQp final : public QpWrapper {
 public:
  PlantedQp(std::unique_ptr<Qp> inner, uint32_t receives, Simulation& simulation)
      : QpWrapper(std::move(inner)),
        receives_(receives),
        leaks_(simulation.plant == Plant::kLostCredit && simulation.chance(500)),
        simulation_(simulation) {}

  PostResult post_send(const WorkRequest& chain) override {
    const PostResult result = inner().post_send(chain);
    if (!result.ok()) return result;
    const WorkRequest* write = nullptr;
    for (const WorkRequest* at = &chain; at != nullptr; at = at->next) {
      if (at->opcode == Opcode::kRdmaWrite) write = at;
      const bool ends_key = at->opcode == Opcode::kSendWithInv;
      if (ends_key && write != nullptr && simulation_.planted(Plant::kStaleKey)) again(*write);
      if ((ends_key || at->opcode == Opcode::kSend) &&
          simulation_.planted(Plant::kDoubleCompletion)) {
        again(*at);
      }
    }
    return result;
  }
  PostStatus post_recv(const RecvRequest& chain) override {
    // Those that are posted before the connection is up belong to its set-up.
    if (receives_ > 0) {
      --receives_;
    } else if (leaks_ && simulation_.chance(500)) {
      return PostStatus::kOk;
    }
    return inner().post_recv(chain);
  }

 private:
  void again(const WorkRequest& request) {
    WorkRequest copy = request;
    copy.next = nullptr;
    copy.completion = nullptr;
    copy.signalled = false;
    if (copy.opcode == Opcode::kSendWithInv) copy.opcode = Opcode::kSend;
    (void)inner().post_send(copy);  // no room: the bug does not show this time
  }

  uint32_t receives_;
  const bool leaks_;
  Simulation& simulation_;
};

}  // namespace

std::shared_ptr<Device> make_planted_device(std::shared_ptr<Device> inner, Simulation& simulation) {
  switch (simulation.plant) {
    case Plant::kStaleKey:
    case Plant::kDoubleCompletion:
    case Plant::kLostCredit:
      return wrap_device(std::move(inner), [&simulation](auto qp, const QpOptions& options) {
        return std::make_unique<PlantedQp>(std::move(qp), options.max_recv_wr, simulation);
      });
    default:
      return inner;
  }
}

}  // namespace mrpool::sim
