// The limits of units and initiators when a site serves another configuration.
#include <set>

#include "examples/iser/target/site_next.h"

namespace mrpool::iser_target {

// Units that are served on keep their limiters. Commands that those of others hold back are
// released.
void Site::set_limits(const Next& next) {
  std::set<std::shared_ptr<engine::Limiter>> limited;
  for (size_t i = 0; i < next.parts.size(); ++i) {
    const TargetConfig& target = next.config.targets[i];
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t j = 0; j < numbers.size(); ++j) {
      const std::shared_ptr<Unit>& unit = next.parts[i].units.at(numbers[j]);
      unit->limiter->set(limits_of(next.config, target.luns[j]));
      limited.insert(unit->limiter);
    }
  }
  for (const auto& target : targets()) {
    const auto table = target->units();
    for (const auto& [lun, unit] : table->units) {
      if (!limited.contains(unit->limiter)) unit->limiter->set({});
    }
  }
}

}  // namespace mrpool::iser_target
