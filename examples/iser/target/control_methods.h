// The iSCSI methods of the control socket, with SPDK's names, parameters and results.
// docs/iser_target.md lists them.
//
// A change edits a copy of the document; the configuration that follows is checked and served as a
// whole, as at a reload, and only then the copy takes its place.
//
// Thread safety: the main loop's thread. Ownership: the holder outlives the methods.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "examples/engine/administration.h"
#include "examples/iser/target/control_document.h"

namespace mrpool::iser_target {

// The daemon's side.
class ControlHolder {
 public:
  // Serves it, or changes nothing.
  virtual absl::Status serve(const Config& config) = 0;
  // Writes it to the daemon's file; returns the path.
  virtual absl::StatusOr<std::string> save(const Config& config) = 0;

 protected:
  ~ControlHolder() = default;
};

class ControlMethods {
 public:
  ControlMethods(ControlHolder& holder, const Config& config)
      : holder_(holder), document_(ControlDocument::from(config)) {}

  void add_to(engine::Administration& administration);
  // After a reload: what is served now.
  void replace(const Config& config) { document_ = ControlDocument::from(config); }
  const ControlDocument& document() const { return document_; }

 private:
  using Edit = std::function<absl::Status(ControlDocument&)>;
  // A method that changes the document, and answers true.
  void add_change(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                  std::function<absl::Status(const control::Given&, ControlDocument&)> edit);
  void add_query(std::string name, std::string summary, std::vector<control::Parameter> parameters,
                 std::function<control::Result(const control::Given&)> run);
  absl::Status apply(const Edit& edit);
  void add_portal_groups();
  void add_initiator_groups();
  void add_auth_groups();
  void add_nodes();
  void add_node_parts();
  void add_save();

  ControlHolder& holder_;
  ControlDocument document_;
  engine::Administration* administration_ = nullptr;
};

// The configuration that follows, complete. It may have no target.
absl::StatusOr<Config> served_config(const ControlDocument& document);

}  // namespace mrpool::iser_target
