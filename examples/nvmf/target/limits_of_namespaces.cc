#include "examples/nvmf/target/limits_of_namespaces.h"

#include <algorithm>
#include <memory>

namespace mrpool::nvmf_target {

void carry_limits(const NamespaceTable& before, NamespaceTable& next) {
  for (Namespace& each : next.namespaces) {
    const Namespace* const was = before.find(each.nsid);
    if (was != nullptr && was->volume == each.volume) each.limiter = was->limiter;
    if (each.limiter == nullptr && !each.limits.any()) continue;
    if (each.limiter == nullptr) each.limiter = std::make_shared<engine::Limiter>();
    each.limiter->set(each.limits);
  }
  for (const Namespace& was : before.namespaces) {
    const bool goes_on = std::ranges::find(next.namespaces, was.limiter, &Namespace::limiter) !=
                         next.namespaces.end();
    if (was.limiter != nullptr && !goes_on) was.limiter->set({});
  }
}

}  // namespace mrpool::nvmf_target
