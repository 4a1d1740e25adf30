// mrpool-nvmf-target as one of a group of gateways: what it does when an ANA group comes and goes
// (gateway/served.h).
//
// Thread safety: the main loop's thread. Ownership: the service and what open() gets outlive it.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/administration.h"
#include "examples/engine/live_config.h"
#include "examples/gateway/daemon/group.h"
#include "examples/gateway/daemon/served.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {

class Gateway final : public gateway::Served {
 public:
  Gateway(gateway::Group& group, Service& service, engine::LiveConfig<Config, Service>& live,
          engine::Administration& administration)
      : group_(group), service_(service), live_(live), administration_(administration) {}

  // Writes for the other gateways which controller ids this one gives, then begins. Blocks.
  absl::Status start();

  // Served.
  void client_changed(std::string_view group) override;
  void prepare(std::string_view group, Done done) override;
  void serve(std::string_view group) override;
  void stop(std::string_view group) override;
  void drain(std::string_view group, Done done) override;
  bool fenced(std::string_view group) override;
  void records_read(const gateway::Records& records) override;

 private:
  void look_if_drained(uint32_t ana_group, Done done);
  void yield(std::vector<Namespace> all, Done done);

  gateway::Group& group_;
  Service& service_;
  engine::LiveConfig<Config, Service>& live_;
  engine::Administration& administration_;
  bool opening_ = false;          // a change that opens stores again waits to begin
  std::set<std::string> warned_;  // of other gateways' controller ids
};

// The controller ids of each subsystem, as one gateway writes them for the others:
// "NQN 1 1000 NQN 1 65519".
std::string controller_ids(const Config& config);
// The NQN of a subsystem for which both give the same ids; empty: there is none.
std::string shared_ids(std::string_view own, std::string_view other);

}  // namespace mrpool::nvmf_target
