#include "examples/nvmf/target/subsystem.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/limits_of_namespaces.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

const Namespace* NamespaceTable::find(uint32_t nsid) const {
  const auto at = std::lower_bound(namespaces.begin(), namespaces.end(), nsid,
                                   [](const Namespace& n, uint32_t id) { return n.nsid < id; });
  return at != namespaces.end() && at->nsid == nsid ? &*at : nullptr;
}

bool NamespaceTable::volatile_cache() const {
  return std::any_of(namespaces.begin(), namespaces.end(),
                     [](const Namespace& n) { return n.volume->geometry().volatile_cache; });
}

bool NamespaceTable::offers_marks() const {
  return namespaces.empty() || std::ranges::any_of(namespaces, [](const Namespace& each) {
           return !each.volume->shared();
         });
}

std::vector<uint32_t> TableChange::nsids_for(std::string_view host_nqn) const {
  std::vector<uint32_t> changed;
  if (before == after) return changed;
  const auto seen = [&](const NamespaceTable& table, uint32_t nsid) -> const Namespace* {
    const Namespace* const ns = table.find(nsid);
    return ns != nullptr && ns->visible_to(host_nqn) ? ns : nullptr;
  };
  for (const Namespace& was : before->namespaces) {
    if (!was.visible_to(host_nqn)) continue;
    const Namespace* const is = seen(*after, was.nsid);
    if (is == nullptr || is->volume != was.volume || is->uuid != was.uuid ||
        is->blocks != was.blocks || is->ana_group != was.ana_group) {
      changed.push_back(was.nsid);
    }
  }
  for (const Namespace& is : after->namespaces) {
    if (is.visible_to(host_nqn) && seen(*before, is.nsid) == nullptr) changed.push_back(is.nsid);
  }
  return changed;
}

bool TableChange::changes_access(std::string_view host_nqn, std::string_view local) const {
  if (before == after) return false;
  const AnaStates then = before->ana.at(local);
  const AnaStates now = after->ana.at(local);
  return std::ranges::any_of(before->namespaces, [&](const Namespace& was) {
    const Namespace* const is = after->find(was.nsid);
    if (is == nullptr || !was.visible_to(host_nqn) || !is->visible_to(host_nqn)) return false;
    return is->ana_group != was.ana_group || then[was.ana_group] != now[is->ana_group];
  });
}

Subsystem::Subsystem(SubsystemOptions options, uint32_t workers)
    : nqn(std::move(options.nqn)),
      serial(std::move(options.serial)),
      model(std::move(options.model)),
      traffic_keep_alive(options.traffic_keep_alive),
      ana_reporting(options.ana_reporting),
      power_on(options.power_on),
      table_(std::make_shared<NamespaceTable>()),
      allow_any_host_(options.allow_any_host),
      hosts_(std::move(options.hosts)),
      keys_(std::move(options.keys)),
      counters_(workers) {
  host_limits_.set(std::move(options.host_limits));
}

std::shared_ptr<const NamespaceTable> Subsystem::namespaces() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

std::shared_ptr<const NamespaceTable> Subsystem::namespaces(std::string_view host_nqn) const {
  std::shared_ptr<const NamespaceTable> all = namespaces();
  const auto hidden = [&](const Namespace& each) { return !each.visible_to(host_nqn); };
  if (std::ranges::none_of(all->namespaces, hidden)) return all;
  auto some = std::make_shared<NamespaceTable>(*all);
  std::erase_if(some->namespaces, hidden);
  return some;
}

TableChange Subsystem::set_namespaces(std::vector<Namespace> namespaces, std::vector<AnaRule> ana) {
  const std::lock_guard lock(mutex_);
  return set_namespaces_locked(std::move(namespaces), std::move(ana));
}

TableChange Subsystem::set_ownership(std::shared_ptr<const AnaStates> ownership) {
  const std::lock_guard lock(mutex_);
  auto table = std::make_shared<NamespaceTable>(*table_);
  table->version = table_->version + 1;
  table->ana.ownership = std::move(ownership);
  return install_locked(std::move(table));
}

TableChange Subsystem::refresh_sizes() {
  const std::lock_guard lock(mutex_);
  const bool same = std::ranges::all_of(table_->namespaces, [](const Namespace& each) {
    return each.volume->geometry().blocks == each.blocks;
  });
  return same ? TableChange{table_, table_}
              : set_namespaces_locked(table_->namespaces, table_->ana.rules);
}

namespace {

// Equal for namespaces that a host considers the same store, before and after a reload.
uint64_t mark_of(const Namespace& ns) {
  const Uuid digest = storage::derive_uuid(absl::StrCat(storage::format_uuid(ns.uuid), " ",
                                                        ns.volume->identity().text(), " ",
                                                        ns.volume->geometry().block_size));
  uint64_t mark;
  std::memcpy(&mark, digest.data(), sizeof mark);
  return mark;
}

// The groups whose descriptors in the log page change at some port: other rules, or other
// namespaces.
std::set<uint32_t> changed_groups(const NamespaceTable& before, const NamespaceTable& after) {
  std::map<uint32_t, std::vector<uint32_t>> then, now;
  for (const Namespace& each : before.namespaces) then[each.ana_group].push_back(each.nsid);
  for (const Namespace& each : after.namespaces) now[each.ana_group].push_back(each.nsid);
  std::set<uint32_t> groups;
  for (const auto& [group, nsids] : then) {
    if (!now.contains(group) || now[group] != nsids) groups.insert(group);
  }
  for (const auto& [group, nsids] : now) {
    if (!then.contains(group)) groups.insert(group);
  }
  const bool same_owners = before.ana.ownership == after.ana.ownership ||
                           (before.ana.ownership != nullptr && after.ana.ownership != nullptr &&
                            *before.ana.ownership == *after.ana.ownership);
  if (before.ana.rules == after.ana.rules && same_owners) return groups;
  const auto owned = [](const Ana& ana, uint32_t group) {
    return ana.ownership == nullptr ? AnaState::kOptimized : (*ana.ownership)[group];
  };
  const auto of = [](const Ana& ana, uint32_t group) {
    std::vector<AnaRule> rules;
    std::ranges::copy_if(ana.rules, std::back_inserter(rules), [group](const AnaRule& rule) {
      return rule.group == 0 || rule.group == group;
    });
    return rules;
  };
  for (const auto& [group, nsids] : now) {
    if (of(before.ana, group) != of(after.ana, group) ||
        owned(before.ana, group) != owned(after.ana, group)) {
      groups.insert(group);
    }
  }
  return groups;
}

}  // namespace

TableChange Subsystem::set_namespaces_locked(std::vector<Namespace> namespaces,
                                             std::vector<AnaRule> ana) {
  std::sort(namespaces.begin(), namespaces.end(),
            [](const Namespace& a, const Namespace& b) { return a.nsid < b.nsid; });
  auto table = std::make_shared<NamespaceTable>();
  table->namespaces = std::move(namespaces);
  table->version = table_->version + 1;
  for (Namespace& each : table->namespaces) {
    each.mark = mark_of(each);
    each.blocks = each.volume->geometry().blocks;
    const Namespace* const before = table_->find(each.nsid);
    const bool same = before != nullptr && before->uuid == each.uuid;
    if (each.reservations == nullptr) {
      each.reservations = same ? before->reservations : std::make_shared<Reservations>();
    }
    if (each.protection == nullptr) {
      each.protection = same ? before->protection : std::make_shared<WriteProtection>();
    }
  }
  table->ana = table_->ana;
  table->ana.rules = std::move(ana);
  carry_limits(*table_, *table);
  return install_locked(std::move(table));
}

TableChange Subsystem::install_locked(std::shared_ptr<NamespaceTable> table) {
  const std::set<uint32_t> groups = changed_groups(*table_, *table);
  if (!groups.empty()) ++table->ana.changes;
  for (const uint32_t group : groups) ++table->ana.group_changes[group];
  TableChange change{table_, table};
  table_ = std::move(table);
  // Release: a queue that sees the version finds the table under the lock.
  version_.store(table_->version, std::memory_order_release);
  return change;
}

bool Subsystem::allows(std::string_view host_nqn) const {
  const std::lock_guard lock(mutex_);
  return allow_any_host_ || hosts_.find(host_nqn) != hosts_.end();
}

bool Subsystem::allows_any_host() const {
  const std::lock_guard lock(mutex_);
  return allow_any_host_;
}

void Subsystem::set_hosts(bool any, HostSet hosts, HostKeyMap keys) {
  const std::lock_guard lock(mutex_);
  allow_any_host_ = any;
  hosts_ = std::move(hosts);
  keys_ = std::move(keys);
}

std::shared_ptr<const nvme::auth::HostKeys> Subsystem::keys(std::string_view host_nqn) const {
  const std::lock_guard lock(mutex_);
  const auto at = keys_.find(host_nqn);
  return at == keys_.end() ? nullptr : at->second;
}

Totals Subsystem::totals() const {
  Totals sum;
  for (const Counters& each : counters_) sum.add(each);
  return sum;
}

}  // namespace mrpool::nvmf_target
