// The NVMe-oF host against the NVMe-oF target on a device that changes its messages;
// visitor_world.h has the checks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "examples/nvmf/target/service.h"
#include "tests/sim/nvmf_visitor.h"
#include "tests/sim/visitor_world.h"

namespace mrpool::sim {

class LiedToNvmf final : public VisitorWorld<NvmfVisitor> {
 public:
  LiedToNvmf(uint64_t seed, Plant plant, Violated violated);
  ~LiedToNvmf() override;

  std::vector<std::string_view> all_moves() const override;

 private:
  void stop_target(std::function<void()> stopped) override;
  void sent(std::span<const std::byte> message) override;
  void done(uint16_t command_id);

  std::unique_ptr<nvmf_target::Service> service_;
  // By command: how often the target reported it as done, minus how often a host did.
  std::map<uint16_t, uint64_t> said_;
};

}  // namespace mrpool::sim
