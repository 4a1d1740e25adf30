// The iSCSI methods of the control socket, with SPDK's names, parameters and results.
// docs/operate/control.md lists them.
//
// A change edits a copy of the document; the configuration that follows is checked and served as a
// whole, as at a reload, and only then the copy takes its place (engine/live_config.h). What may
// wait for a file system runs aside.
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
#include "examples/iser/target/control_document.h"
#include "examples/iser/target/service.h"

namespace mrpool::iser_target {

// A document, and the configuration that follows from it.
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
  // Warns of memory that the machine may not have.
  std::shared_ptr<Change> change(const ControlState& state);

 private:
  const char* const program_;
  Service& service_;
};

class ControlMethods {
 public:
  // Where save_config writes to; `imported`: a file of another program, which it refuses.
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
  // What is served.
  const Config& config() const { return live_.config().config; }
  engine::LiveConfig<ControlState, ServedState>& live() { return live_; }

 private:
  // A method that changes the document, and answers true.
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
};

// The configuration that follows, complete. It may have no target.
absl::StatusOr<Config> served_config(const ControlDocument& document);

}  // namespace mrpool::iser_target
