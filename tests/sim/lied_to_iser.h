// The iSER initiator against the iSER target on a device that changes its messages; visitor_world.h
// has the checks.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "examples/iser/target/service.h"
#include "tests/sim/iser_visitor.h"
#include "tests/sim/visitor_world.h"

namespace mrpool::sim {

class LiedToIser final : public VisitorWorld<IserVisitor> {
 public:
  LiedToIser(uint64_t seed, Plant plant, Violated violated);
  ~LiedToIser() override;

  std::vector<std::string_view> all_moves() const override;

 private:
  void stop_target(std::function<void()> stopped) override;
  void sent(std::span<const std::byte> message) override;
  void done();

  std::unique_ptr<iser_target::Service> service_;
  // How often the target reported a command as done since the visitor began to send commands, minus
  // how often the visitor did.
  uint64_t said_ = 0;
};

}  // namespace mrpool::sim
