#include "examples/iser/target/target.h"

#include <utility>

#include "examples/iser/target/limits.h"

namespace mrpool::iser_target {

Target::Target(std::string name, uint16_t portal_group_tag, uint32_t workers)
    : name_(std::move(name)),
      portal_group_tag_(portal_group_tag),
      config_(std::make_shared<TargetConfig>()),
      table_(std::make_shared<UnitTable>()),
      sessions_(workers) {}

void Target::serve(const TargetConfig& config, std::map<uint16_t, std::shared_ptr<Unit>> units) {
  const std::lock_guard lock(mutex_);
  config_ = std::make_shared<TargetConfig>(config);
  initiator_limits_.set(config.initiator_limits);
  if (units == table_->units) return;
  auto table = std::make_shared<UnitTable>();
  table->version = table_->version + 1;
  for (const auto& [lun, unit] : units) table->luns.push_back(lun);
  table->units = std::move(units);
  table_ = std::move(table);
  version_.store(table_->version, std::memory_order_release);
}

std::shared_ptr<const TargetConfig> Target::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

std::shared_ptr<const UnitTable> Target::units() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

void Target::lose(const std::string& port, SeenUnits seen) {
  forget(port);
  const std::lock_guard lock(mutex_);
  if (lost_.size() == kMaxLostPorts) {
    lost_.erase(lost_in_order_.front());
    lost_in_order_.pop_front();
  }
  lost_.emplace(port, std::move(seen));
  lost_in_order_.push_back(port);
}

void Target::forget(const std::string& port) {
  const std::lock_guard lock(mutex_);
  if (lost_.erase(port) != 0) std::erase(lost_in_order_, port);
}

std::optional<SeenUnits> Target::lost(const std::string& port) const {
  const std::lock_guard lock(mutex_);
  const auto at = lost_.find(port);
  return at == lost_.end() ? std::nullopt : std::optional(at->second);
}

std::optional<iscsi::Authentication> Target::account(std::string_view initiator) const {
  return config()->account(initiator);
}

}  // namespace mrpool::iser_target
