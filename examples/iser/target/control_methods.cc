#include "examples/iser/target/control_methods.h"

#include <boost/json/object.hpp>
#include <utility>

#include "examples/control/parameters.h"

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

absl::Status ControlMethods::apply(const Edit& edit) {
  ControlDocument next = document_;
  if (absl::Status status = edit(next); !status.ok()) return status;
  const auto config = served_config(next);
  if (!config.ok()) return config.status();
  if (absl::Status status = holder_.serve(*config); !status.ok()) return status;
  document_ = std::move(next);
  return absl::OkStatus();
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
         std::vector<engine::Step> steps;
         steps.push_back({.run = [this, edit, given] {
           return apply([&](ControlDocument& document) { return edit(given, document); });
         }});
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
  add_portal_groups();
  add_initiator_groups();
  add_auth_groups();
  add_nodes();
  add_node_parts();
  add_save();
}

void ControlMethods::add_save() {
  add_query("save_config", "write what is served to the file of --config",
            {control::only("write", true, "an answer would have the secrets")},
            [this](const Given&) -> control::Result {
              const auto config = served_config(document_);
              if (!config.ok()) return config.status();
              const auto path = holder_.save(*config);
              if (!path.ok()) return path.status();
              return json::object{{"path", *path}};
            });
}

}  // namespace mrpool::iser_target
