#include "examples/iser/target/target.h"

#include <algorithm>
#include <utility>

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

bool Target::admits(std::string_view initiator) const {
  const std::shared_ptr<const TargetConfig> config = this->config();
  return config->initiators.empty() ||
         std::ranges::find(config->initiators, initiator) != config->initiators.end();
}

}  // namespace mrpool::iser_target
