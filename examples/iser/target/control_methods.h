// The iSCSI methods of the control socket, with SPDK's names, parameters and results.
// docs/operate/control.md lists them.
//
// A change edits a copy of the document. The resulting configuration is checked and served as a
// whole, as in a reload; only then the copy replaces the document (engine/live_config.h). Steps
// that may wait for a file system run on a separate thread.
//
// Thread safety: the main loop's thread. Ownership: the service outlives the methods.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/administration.h"
#include "examples/engine/live_config.h"
#include "examples/engine/store_methods.h"
#include "examples/iser/target/control_document.h"
#include "examples/iser/target/service.h"

namespace mrpool::iser_target {

// A document, and the configuration that results from it.
struct ControlState {
  ControlDocument document;
  Config config;

  static ControlState from(const Config& config) {
    return {.document = ControlDocument::from(config), .config = config};
  }
};
absl::Status complete(ControlState& state);

// Serves the configuration of a state.
class ServedState {
 public:
  using Change = Service::Change;

  ServedState(const char* program, Service& service) : program_(program), service_(service) {}
  // Warns if the stores in memory may exceed the machine's memory.
  std::shared_ptr<Change> change(const ControlState& state);

 private:
  const char* const program_;
  Service& service_;
};

class ControlMethods final : public engine::StoreHolder {
 public:
  // The file that save_config writes. `imported`: it is a file of another program; save_config
  // refuses to overwrite it.
  struct File {
    std::string path;
    bool imported = false;
  };
  ControlMethods(const char* program, Service& service, const Config& config, File file)
      : service_(service),
        served_(program, service),
        live_(served_, ControlState::from(config)),
        file_(std::move(file)) {}

  void add_to(engine::Administration& administration);
  // The configuration that is served.
  const Config& config() const { return live_.config().config; }
  engine::LiveConfig<ControlState, ServedState>& live() { return live_; }

  // StoreHolder.
  std::vector<engine::HeldStore> held_stores() override;
  std::vector<engine::Step> change_stores(Edit edit) override;
  std::vector<engine::Step> change_limits(const std::string& store, EditLimits edit) override;
  uint32_t default_block_size() const override { return config().block_size; }
  void tell_sizes() override { service_.site().refresh_sizes(); }

 private:
  // Adds a method that changes the document and returns true.
  void add_change(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                  std::function<absl::Status(const control::Given&, ControlDocument&)> edit);
  void add_query(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                 std::function<control::Result(const control::Given&)> run);
  // control_groups.cc
  void add_portal_groups();
  void add_initiator_groups();
  void add_auth_groups();
  // control_nodes.cc
  void add_nodes();
  void add_node_parts();
  void add_connections();
  void add_save();
  const ControlDocument& document() const { return live_.config().document; }

  Service& service_;
  ServedState served_;
  engine::LiveConfig<ControlState, ServedState> live_;
  const File file_;
  engine::Administration* administration_ = nullptr;
  std::shared_ptr<void> store_methods_;
};

// The resulting configuration, after complete_live(). It may have no target.
absl::StatusOr<Config> served_config(const ControlDocument& document);

}  // namespace mrpool::iser_target
