#include "examples/iser/target/control_methods.h"

#include <boost/json/object.hpp>
#include <utility>

#include "examples/control/parameters.h"
#include "examples/engine/check_start.h"
#include "examples/iser/target/config_json.h"

namespace mrpool::iser_target {

namespace json = boost::json;

using control::Given;
using control::Parameter;

absl::StatusOr<Config> served_config(const ControlDocument& document) {
  auto config = document.to_config();
  if (!config.ok()) return config;
  if (absl::Status status = complete_live(*config); !status.ok()) return status;
  return config;
}

absl::Status complete(ControlState& state) {
  auto config = served_config(state.document);
  if (config.ok()) state.config = *std::move(config);
  return config.status();
}

std::shared_ptr<Service::Change> ServedState::change(const ControlState& state) {
  engine::warn_of_memory(program_, wanted_stores(state.config));
  return service_.change(state.config);
}

void ControlMethods::add_change(std::string name, std::string summary,
                                std::vector<Parameter> parameters,
                                std::function<absl::Status(const Given&, ControlDocument&)> edit) {
  administration_->methods.add(
      {.name = std::move(name),
       .summary = std::move(summary),
       .parameters = std::move(parameters),
       .changes = true,
       .start = [this, edit = std::move(edit)](const Given& given, control::Reply reply) {
         auto steps = live_.change(
             [edit, given](ControlState& state) { return edit(given, state.document); });
         administration_->changes.add(std::move(steps),
                                      [reply = std::move(reply)](const absl::Status& status) {
                                        if (status.ok()) return reply(json::value(true));
                                        reply(status);
                                      });
       }});
}

void ControlMethods::add_query(std::string name, std::string summary,
                               std::vector<Parameter> parameters,
                               std::function<control::Result(const Given&)> run) {
  administration_->methods.add({.name = std::move(name),
                                .summary = std::move(summary),
                                .parameters = std::move(parameters),
                                .run = std::move(run)});
}

void ControlMethods::add_to(engine::Administration& administration) {
  administration_ = &administration;
  store_methods_ = engine::add_store_methods(administration, *this);
  add_portal_groups();
  add_initiator_groups();
  add_auth_groups();
  add_nodes();
  add_node_parts();
  add_connections();
  add_save();
}

void ControlMethods::add_save() {
  administration_->methods.add(
      {.name = "save_config",
       .summary = "write the served configuration to the file of --config",
       .parameters = {control::only("write", true, "an answer would have the secrets")},
       .changes = true,
       .start = [this](const Given&, control::Reply reply) {
         const auto saved = std::make_shared<Config>();
         std::vector<engine::Step> steps;
         steps.push_back({.run = [this, saved] {
           *saved = config();
           return absl::OkStatus();
         }});
         steps.push_back({engine::Step::Where::kAside, [this, saved] {
                            note_present_sizes(*saved);
                            return save_config(*saved, file_.path, file_.imported).status();
                          }});
         administration_->changes.add(std::move(steps),
                                      [this, reply = std::move(reply)](const absl::Status& status) {
                                        if (!status.ok()) return reply(status);
                                        live_.saved();
                                        reply(json::value(json::object{{"path", file_.path}}));
                                      });
       }});
}

}  // namespace mrpool::iser_target
