// The methods of the NVMe daemon's control socket, and its configuration at run time.
//
// A method that changes something edits a copy of the configuration, which is then served as a
// whole or not at all (engine/live_config.h). A method that reads answers from the served state.
//
// Listeners: all ports of the daemon serve all its subsystems. A listener of a subsystem is a port
// that stays open while at least one subsystem lists it.
//
// Thread safety: the main loop's thread, except tell_sizes(). Ownership: the service outlives it;
// it outlives the methods.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "examples/engine/administration.h"
#include "examples/engine/live_config.h"
#include "examples/engine/store_methods.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {

class Control final : public engine::StoreHolder {
 public:
  // `config_file`: the default file of save_config; may be empty.
  Control(Service& service, Config config, std::string config_file);

  void add_methods(engine::Administration& administration);

  const Config& config() const { return live_.config(); }
  engine::LiveConfig<Config, Service>& live() { return live_; }

  // StoreHolder.
  std::vector<engine::HeldStore> held_stores() override;
  std::vector<engine::Step> change_stores(Edit edit) override;
  std::vector<engine::Step> change_limits(const std::string& store, EditLimits edit) override;
  uint32_t default_block_size() const override { return storage::kDefaultBlockSize; }
  void tell_sizes() override { service_.target().refresh_sizes(); }

 private:
  // Edits a configuration and sets `result`, the answer to the client.
  using Change = std::function<absl::Status(const control::Given& given, Config& config,
                                            boost::json::value& result)>;
  void add_change(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                  Change change);
  void add_look(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                std::function<control::Result(const control::Given&)> look);
  // control.cc
  void add_subsystem_methods();
  void add_host_methods();
  void add_listener_methods();
  void add_namespace_methods();
  void add_visibility_methods();
  // control_ana.cc
  void add_ana_methods();
  // control_discovery.cc
  void add_discovery_methods();
  // control_keys.cc
  void add_key_methods();
  // control_qos.cc
  void add_limit_methods();
  // control_referrals.cc
  void add_referral_methods();
  // control_show.cc
  void add_show_methods();
  boost::json::array listen_addresses() const;
  boost::json::object show(const SubsystemConfig& subsystem) const;
  absl::Status check_served(const std::string& nqn) const;
  absl::StatusOr<std::vector<std::shared_ptr<Controller>>> controllers_of(
      const std::string& nqn) const;
  control::Result get_subsystems(const control::Given& given) const;
  control::Result get_controllers(const control::Given& given) const;
  control::Result get_queues(const control::Given& given) const;
  control::Result get_listeners(const control::Given& given) const;
  control::Result get_transports(const control::Given& given) const;
  control::Result get_stats() const;
  // control_config.cc
  void add_config_methods();
  void save(const control::Given& given, control::Reply reply);
  void load(const control::Given& given, control::Reply reply);

  Service& service_;
  engine::LiveConfig<Config, Service> live_;
  const std::string config_file_;
  engine::Administration* administration_ = nullptr;
  std::shared_ptr<void> store_methods_;
};

// "NQN/1": the name of a store that belongs to one namespace.
std::string own_store_name(std::string_view nqn, uint32_t nsid);
// NotFound names the NQN.
absl::StatusOr<SubsystemConfig*> find_subsystem(Config& config, std::string_view nqn);
control::Parameter nqn_parameter();
control::Parameter target_parameter();
control::Parameter listen_address();
// Of a given "listen_address", for example "uiwarp://10.0.0.1:4420". Without options it is the port
// that `config` has there, with its options.
absl::StatusOr<std::string> address_of(const control::Given& where, const Config& config);
// control_ana.cc: the parameter "ana_state", and the rule that it and "anagrpid" describe.
control::Parameter ana_state_parameter();
absl::Status set_ana_state_of(const control::Given& given, const std::string& listener,
                              SubsystemConfig& subsystem);
// The states at the port `endpoint`, "10.0.0.1:4420": of the groups that have namespaces or rules.
boost::json::array ana_states(const NamespaceTable& table, const std::string& endpoint);
boost::json::array ana_calls(const SubsystemConfig& subsystem);
boost::json::object listener_parameter(const std::string& listener);

// The calls with which SPDK's clients would create the same configuration: of stores, subsystems
// and referrals.
boost::json::array store_calls(const Config& config);
boost::json::array subsystem_calls(const Config& config);
// The call that limits a store; nothing if it has no limits.
void add_limit_call(const std::string& store, const engine::RateLimits& limits,
                    boost::json::array& to);
// Those that limit the hosts of a subsystem.
void add_limit_calls(const SubsystemConfig& subsystem, boost::json::array& to);
boost::json::array referral_calls(const Config& config);
boost::json::array key_calls(const Config& config);
boost::json::array discovery_calls(const Config& config);
boost::json::object show_discovery(const Config& config);
// Adds the names of a host's keys, as clients see and send them; never a secret.
void add_key_names(const SubsystemConfig& subsystem, const std::string& host,
                   boost::json::object& to);
// The parameters "dhchap_key" and "dhchap_ctrlr_key", and the host's entry that they describe.
std::vector<control::Parameter> proof_parameters();
absl::Status set_proof(const control::Given& given, SubsystemConfig& subsystem);

}  // namespace mrpool::nvmf_target
