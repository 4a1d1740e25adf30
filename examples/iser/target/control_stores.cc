// The stores that the control socket's methods list and change (engine/store_methods.h).
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/control_methods.h"

namespace mrpool::iser_target {
namespace {

// No LUN has lost its store.
absl::Status check_used(const ControlDocument& document) {
  for (const auto& [name, node] : document.nodes) {
    for (const LunConfig& lun : node.target.luns) {
      if (lun.store.empty()) continue;
      if (engine::find_store(document.rest.stores, lun.store) != nullptr) continue;
      return absl::FailedPreconditionError(absl::StrCat("store ", lun.store, " is ", name, " LUN ",
                                                        lun.lun.value_or(0),
                                                        "; remove the LUN first"));
    }
  }
  return absl::OkStatus();
}

std::string own_store_name(const std::string& target, uint16_t lun) {
  return absl::StrCat(target, "/", lun);
}

// The limits of a named store, or of a LUN's own.
engine::RateLimits* find_limits(ControlDocument& document, const std::string& store) {
  const auto named = std::ranges::find(document.rest.stores, store, &engine::NamedStore::name);
  if (named != document.rest.stores.end()) return &named->limits;
  for (auto& [name, node] : document.nodes) {
    const std::vector<uint16_t> numbers = lun_numbers(node.target);
    for (size_t i = 0; i < numbers.size(); ++i) {
      LunConfig& lun = node.target.luns[i];
      if (lun.store.empty() && own_store_name(name, numbers[i]) == store) return &lun.limits;
    }
  }
  return nullptr;
}

}  // namespace

// A store that only a LUN has is listed as "IQN/3".
std::vector<engine::HeldStore> ControlMethods::held_stores() {
  std::map<std::pair<std::string, uint32_t>, metrics::IoTotals> io;
  for (const engine::IoAccounts::Row& row : service_.engine().accounts().rows()) {
    io[{row.target, row.unit}].add(row.io);
  }
  std::vector<engine::HeldStore> all;
  for (const TargetConfig& target : config().targets) {
    const auto served = service_.site().find(target.name);
    if (served == nullptr) continue;
    const auto table = served->units();
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t i = 0; i < numbers.size(); ++i) {
      const auto unit = table->units.find(numbers[i]);
      if (unit == table->units.end()) continue;
      const std::string& store = target.luns[i].store;
      all.push_back({.name = store.empty() ? own_store_name(target.name, numbers[i]) : store,
                     .volume = unit->second->volume,
                     .uuid = unit->second->logical.facts().uuid,
                     .used = true,
                     .io = io[{target.name, numbers[i]}],
                     .limits = limits_of(config(), target.luns[i])});
    }
  }
  for (const Site::Named& each : service_.site().named_stores()) {
    const bool used = std::ranges::any_of(
        all, [&](const engine::HeldStore& held) { return held.name == each.name; });
    if (!used) all.push_back(engine::unused_store(config().stores, each));
  }
  return all;
}

std::vector<engine::Step> ControlMethods::change_stores(Edit edit) {
  return live_.change([edit = std::move(edit)](ControlState& state) {
    const absl::Status status = edit(state.document.rest.stores);
    return status.ok() ? check_used(state.document) : status;
  });
}

std::vector<engine::Step> ControlMethods::change_limits(const std::string& store, EditLimits edit) {
  return live_.change([store, edit = std::move(edit)](ControlState& state) {
    engine::RateLimits* const limits = find_limits(state.document, store);
    if (limits != nullptr) return edit(*limits);
    return absl::NotFoundError(
        absl::StrCat("there is no store \"", store, "\"; bdev_get_bdevs lists them"));
  });
}

}  // namespace mrpool::iser_target
