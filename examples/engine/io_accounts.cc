#include "examples/engine/io_accounts.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

namespace mrpool::engine {

metrics::IoTotals IoAccount::totals() const {
  const auto sum = [this](IoClass what) -> metrics::IoSum {
    const Sum& from = sums_[size_t(what)];
    return {.completed = from.completed, .bytes = from.bytes, .ns = from.ns};
  };
  return {.reads = sum(IoClass::kRead),
          .writes = sum(IoClass::kWrite),
          .others = sum(IoClass::kOther),
          .errors = errors_,
          .storage = storage_,
          .slow = slow_,
          .throttled = held_,
          .throttled_ns = held_ns_};
}

std::shared_ptr<IoAccount> IoAccounts::open(uint32_t worker, std::string_view host,
                                            std::string_view target, uint32_t unit) {
  const std::lock_guard lock(mutex_);
  Key key{std::string(place_for(host)), std::string(target), unit, worker};
  if (accounts_.size() >= kMaxAccounts && !accounts_.contains(key)) key.host = kOthers;
  std::shared_ptr<IoAccount>& account = accounts_[std::move(key)];
  if (account == nullptr) account = std::make_shared<IoAccount>(latencies_[worker]);
  return account;
}

std::shared_ptr<void> IoAccounts::enter(metrics::SessionState session) {
  const std::lock_guard lock(mutex_);
  const auto at = sessions_.insert(sessions_.end(), std::move(session));
  return {&*at, [this, at](void*) {
            const std::lock_guard leaving(mutex_);
            sessions_.erase(at);
          }};
}

std::vector<metrics::SessionState> IoAccounts::sessions() const {
  const std::lock_guard lock(mutex_);
  return {sessions_.begin(), sessions_.end()};
}

// The account name of a host: its own, or kOthers.
std::string_view IoAccounts::place_for(std::string_view host) {
  if (std::ranges::find(hosts_, host) != hosts_.end()) return host;
  if (hosts_.size() >= kMaxHosts && !fold_one()) return kOthers;
  hosts_.emplace_back(host);
  return host;
}

bool IoAccounts::in_use(const std::string& host) const {
  for (auto at = accounts_.lower_bound({host, {}, 0, 0});
       at != accounts_.end() && at->first.host == host; ++at) {
    if (at->second.use_count() > 1) return true;
  }
  return false;
}

// Merges the account of one host into kOthers; false if all hosts have sessions.
bool IoAccounts::fold_one() {
  const auto idle =
      std::ranges::find_if(hosts_, [this](const auto& host) { return !in_use(host); });
  if (idle == hosts_.end()) return false;
  fold(*idle);
  hosts_.erase(idle);
  return true;
}

// No session counts into its accounts any more. The fence pairs with the release of each account's
// last session, so that all counts are visible.
void IoAccounts::fold(const std::string& host) {
  std::atomic_thread_fence(std::memory_order_acquire);
  auto at = accounts_.lower_bound({host, {}, 0, 0});
  while (at != accounts_.end() && at->first.host == host) {
    folded_[{at->first.target, at->first.unit}].add(at->second->totals());
    at = accounts_.erase(at);
  }
}

std::vector<IoAccounts::Row> IoAccounts::rows() const {
  std::map<std::tuple<std::string, std::string, uint32_t>, Row> all;
  const auto row = [&all](const std::string& host, const std::string& target,
                          uint32_t unit) -> Row& {
    Row& found = all[{host, target, unit}];
    found.host = host;
    found.target = target;
    found.unit = unit;
    return found;
  };
  std::vector<std::tuple<Key, bool, metrics::IoTotals>> read;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [place, io] : folded_) {
      row(std::string(kOthers), std::get<0>(place), std::get<1>(place)).io.add(io);
    }
    // Copies under the mutex, so that a worker that opens an account waits only for the copy.
    read.reserve(accounts_.size());
    for (const auto& [key, account] : accounts_) {
      read.emplace_back(key, account.use_count() > 1, account->totals());
    }
  }
  for (const auto& [key, open, io] : read) {
    Row& to = row(key.host, key.target, key.unit);
    to.open |= open;
    to.io.add(io);
  }
  std::vector<Row> rows;
  for (auto& [key, each] : all) rows.push_back(std::move(each));
  return rows;
}

void IoAccounts::add_io(metrics::Snapshot& to) const {
  std::map<std::string, metrics::HostState> hosts;
  const auto host = [&hosts](const std::string& name) -> metrics::HostState& {
    metrics::HostState& found = hosts[name];
    found.name = name;
    return found;
  };
  std::map<std::pair<std::string, uint32_t>, metrics::UnitState*> units;
  for (metrics::TargetState& target : to.targets) {
    for (metrics::UnitState& unit : target.units) units[{target.name, unit.number}] = &unit;
  }
  std::set<std::string> known;
  for (const Row& row : rows()) {
    known.insert(row.host);
    host(row.host).io.add(row.io);
    const auto unit = units.find({row.target, row.unit});
    if (unit != units.end()) unit->second->io.add(row.io);
  }
  // Adds hosts that are connected and have done no I/O yet, up to the limit.
  for (const metrics::SessionState& session : to.sessions) {
    const bool own = known.contains(session.host) || known.size() < kMaxHosts;
    if (own) known.insert(session.host);
    host(own ? session.host : std::string(kOthers)).connections += session.queues.size();
  }
  for (auto& [name, each] : hosts) to.hosts.push_back(std::move(each));
}

void IoAccounts::add_latencies(metrics::Snapshot& to) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [worker, latencies] : latencies_) {
    for (size_t size = 0; size < metrics::kSizeClasses; ++size) {
      for (const bool write : {false, true}) {
        const LatencyHistograms::Line& from = latencies.lines[write][size];
        metrics::Latencies& line = (write ? to.writes : to.reads)[size];
        for (size_t i = 0; i < metrics::kLatencyBuckets; ++i) line.counts[i] += from.counts[i];
        line.ns += from.ns;
      }
    }
  }
}

}  // namespace mrpool::engine
