#include "examples/engine/stores.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log_thread.h"

namespace mrpool::engine {
namespace {

long long seconds(Nanoseconds time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

void print(const std::string& line) {
  if (!line.empty()) base::log_line(line);
}

}  // namespace

void Stores::look(uint32_t worker, Nanoseconds now, Nanoseconds limit,
                  const std::function<void(const StoreVisitor&)>& visit) {
  std::set<const storage::Volume*> waited_for;
  visit([&](const storage::Volume& store, const storage::Channel& way) {
    const Nanoseconds age = way.oldest_age(now);
    if (age <= limit) return;
    print(note(worker, store, way, age));
    waited_for.insert(&store);
  });
  if (count_.load(std::memory_order_relaxed) != 0) print(forget(worker, waited_for));
}

// Those that this worker does not wait for any more; returns what is to be printed.
std::string Stores::forget(uint32_t worker, const std::set<const storage::Volume*>& waited_for) {
  std::string lines;
  const std::lock_guard lock(mutex_);
  for (auto at = hung_.begin(); at != hung_.end();) {
    const auto here = at++;
    Hung& hung = here->second;
    if (waited_for.contains(here->first) || hung.workers.erase(worker) == 0) continue;
    if (!hung.workers.empty()) continue;
    absl::StrAppend(&lines, lines.empty() ? "" : "\n", hung.name, " answers again, after ",
                    seconds(hung.longest), " s");
    hung_.erase(here);
  }
  count_.store(hung_.size(), std::memory_order_relaxed);
  return lines;
}

// Returns what is to be printed.
std::string Stores::note(uint32_t worker, const storage::Volume& store, const storage::Channel& way,
                         Nanoseconds age) {
  const std::lock_guard lock(mutex_);
  const auto [at, first] = hung_.try_emplace(&store);
  Hung& hung = at->second;
  hung.workers.insert(worker);
  hung.longest = std::max(hung.longest, age);
  if (!first) return {};
  hung.name = store.spec();
  count_.store(hung_.size(), std::memory_order_relaxed);
  return absl::StrCat(hung.name, " does not answer: ", way.pending(),
                      " requests wait, the oldest for ", seconds(age), " s; check the device");
}

std::vector<std::string> Stores::hung() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [store, hung] : hung_) names.push_back(hung.name);
  return names;
}

}  // namespace mrpool::engine
