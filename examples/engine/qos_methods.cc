#include "examples/engine/qos_methods.h"

#include <string>
#include <utility>
#include <vector>

#include "examples/engine/rate_limits.h"
#include "examples/storage/uuid.h"

namespace mrpool::engine {

using control::Given;
using control::Parameter;
using control::Reply;

namespace {

// Clients may name a store by its UUID.
std::string name_of(StoreHolder& holder, const std::string& given) {
  for (const HeldStore& each : holder.held_stores()) {
    if (storage::format_uuid(each.uuid) == given) return each.name;
  }
  return given;
}

}  // namespace

void add_limit_method(Changes& changes, control::Methods& methods, StoreHolder& holder) {
  std::vector<Parameter> parameters = limit_parameters();
  parameters.insert(parameters.begin(),
                    required(control::text("name", "the store, as bdev_get_bdevs lists it")));
  methods.add({.name = "bdev_set_qos_limit",
               .summary = "limit the rate of a store's commands; what is not given stays",
               .parameters = std::move(parameters),
               .changes = true,
               .start = [&changes, &holder](const Given& given, Reply reply) {
                 const auto edit = [given](RateLimits& limits) {
                   return set_limits(given, limits);
                 };
                 changes.add(holder.change_limits(name_of(holder, given.text("name")), edit),
                             answer_with(std::move(reply), true));
               }});
}

}  // namespace mrpool::engine
