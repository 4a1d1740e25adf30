#include "examples/nvmf/target/known_stores.h"

namespace mrpool::nvmf_target {

KnownStores::KnownStores(const NamespaceTable& table) {
  for (const Namespace& ns : table.namespaces) marks_.emplace(ns.nsid, ns.mark);
}

bool KnownStores::means(const Namespace& ns) const {
  const auto at = marks_.find(ns.nsid);
  return at != marks_.end() && at->second == ns.mark;
}

bool KnownStores::shows(const Namespace& ns) const {
  const auto at = marks_.find(ns.nsid);
  return at == marks_.end() || at->second == ns.mark;
}

bool KnownStores::identified(const Namespace& ns) {
  if (shows(ns)) {
    marks_.insert_or_assign(ns.nsid, ns.mark);
    return false;
  }
  marks_.erase(ns.nsid);
  return true;
}

std::vector<uint32_t> KnownStores::listed(const NamespaceTable& table, uint32_t above) {
  std::vector<uint32_t> again;
  std::erase_if(marks_, [&](const auto& known) {
    const auto [nsid, mark] = known;
    if (nsid <= above) return false;
    const Namespace* const ns = table.find(nsid);
    if (ns != nullptr && ns->mark == mark) return false;
    if (ns != nullptr) again.push_back(nsid);
    return true;
  });
  return again;
}

void KnownStores::add(const KnownStores& other) {
  for (const auto& [nsid, mark] : other.marks_) {
    const auto [at, fresh] = marks_.emplace(nsid, mark);
    if (!fresh && at->second != mark) at->second = kNoStore;
  }
}

}  // namespace mrpool::nvmf_target
