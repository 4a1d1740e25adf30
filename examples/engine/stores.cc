#include "examples/engine/stores.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/base/units.h"
#include "examples/engine/limits.h"

namespace mrpool::engine {
namespace {

long long seconds(Nanoseconds time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

std::string word(storage::Op op) { return std::string(storage::to_string(op)); }

const char* words(storage::Error error) {
  switch (error) {
    case storage::Error::kNone:
      break;
    case storage::Error::kOutOfRange:
      return "beyond the end of the store";
    case storage::Error::kMediaRead:
    case storage::Error::kMediaWrite:
      return "an I/O error; check the device";
    case storage::Error::kNoSpace:
      return "no space left";
    case storage::Error::kReadOnly:
      return "the store is read only";
    case storage::Error::kUnsupported:
      return "the store does not support it";
    case storage::Error::kNotReady:
      return "the store is not ready";
    case storage::Error::kInaccessible:
      return "this daemon has no access to the store";
    case storage::Error::kMarkedBad:
      return "a host has marked the block as uncorrectable";
    case storage::Error::kMarksFull:
      return "too many blocks are marked as uncorrectable";
    case storage::Error::kMarkNotKept:
      return "the state directory cannot be written";
    case storage::Error::kInternal:
      return "an internal error";
  }
  return "no error";
}

std::string describe(const storage::Trouble& trouble) {
  std::string text = absl::StrCat("a ", word(trouble.op));
  if (trouble.op != storage::Op::kFlush) {
    absl::StrAppend(&text, " of ", trouble.length, " bytes at ", trouble.offset);
  }
  return absl::StrCat(text, ": ", words(trouble.error));
}

void report(const std::string& name, const storage::Trouble& trouble, Nanoseconds slow) {
  if (trouble.errors != 0) {
    base::log({.event = base::Event::kStoreError,
               .store = name,
               .message = absl::StrCat(name, ": ", trouble.errors,
                                       " requests failed, the last one ", describe(trouble))});
  }
  if (trouble.longest > slow) {
    base::log({.event = base::Event::kStoreSlow,
               .store = name,
               .message = absl::StrCat(name, " is slow: a ", word(trouble.longest_op), " took ",
                                       base::format_duration(trouble.longest))});
  }
}

}  // namespace

void Stores::look(uint32_t worker, Nanoseconds now, Nanoseconds limit, Nanoseconds slow,
                  const std::function<void(const StoreVisitor&)>& visit) {
  std::set<const storage::Volume*> waited_for;
  visit([&](const storage::Volume& store, storage::Channel& way) {
    const storage::Trouble trouble = way.take_trouble();
    if (trouble.errors != 0 || trouble.longest > slow) note_trouble(store, trouble);
    const Nanoseconds age = way.oldest_age(now);
    if (age <= limit) return;
    note_hung(worker, store, way, age);
    waited_for.insert(&store);
  });
  if (count_.load(std::memory_order_relaxed) != 0) forget(worker, waited_for);
  if (pending_.load(std::memory_order_relaxed)) report_trouble(now, slow);
}

void Stores::note(const storage::Volume& store, const storage::Trouble& trouble, Nanoseconds now,
                  Nanoseconds slow) {
  if (trouble.errors == 0 && trouble.longest <= slow) return;
  note_trouble(store, trouble);
  report_trouble(now, slow);
}

// The first trouble is reported immediately, later ones together.
void Stores::note_trouble(const storage::Volume& store, const storage::Trouble& trouble) {
  const std::lock_guard lock(mutex_);
  if (noted_.size() >= kMostNoted) noted_.clear();
  noted_[store.spec()].trouble.add(trouble);
  pending_.store(true, std::memory_order_relaxed);
}

void Stores::report_trouble(Nanoseconds now, Nanoseconds slow) {
  const std::lock_guard lock(mutex_);
  bool pending = false;
  for (auto& [name, noted] : noted_) {
    if (noted.trouble.empty()) continue;
    if (noted.reported && now - *noted.reported < kStoreReport) {
      pending = true;
      continue;
    }
    noted.reported = now;
    report(name, std::exchange(noted.trouble, {}), slow);
  }
  pending_.store(pending, std::memory_order_relaxed);
}

// Removes the stores that this worker no longer waits for.
void Stores::forget(uint32_t worker, const std::set<const storage::Volume*>& waited_for) {
  const std::lock_guard lock(mutex_);
  for (auto at = hung_.begin(); at != hung_.end();) {
    const auto here = at++;
    Hung& hung = here->second;
    if (waited_for.contains(here->first) || hung.workers.erase(worker) == 0) continue;
    if (!hung.workers.empty()) continue;
    base::log({.event = base::Event::kStoreRecovered,
               .store = hung.name,
               .message =
                   absl::StrCat(hung.name, " answers again, after ", seconds(hung.longest), " s")});
    hung_.erase(here);
  }
  count_.store(hung_.size(), std::memory_order_relaxed);
}

void Stores::note_hung(uint32_t worker, const storage::Volume& store, const storage::Channel& way,
                       Nanoseconds age) {
  const std::lock_guard lock(mutex_);
  const auto [at, first] = hung_.try_emplace(&store);
  Hung& hung = at->second;
  hung.workers.insert(worker);
  hung.longest = std::max(hung.longest, age);
  if (!first) return;
  hung.name = store.spec();
  count_.store(hung_.size(), std::memory_order_relaxed);
  base::log({.event = base::Event::kStoreHung,
             .store = hung.name,
             .message = absl::StrCat(hung.name, " does not answer: ", way.pending(),
                                     " requests wait, the oldest for ", seconds(age),
                                     " s; check the device")});
}

std::vector<std::string> Stores::hung() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [store, hung] : hung_) names.push_back(hung.name);
  return names;
}

}  // namespace mrpool::engine
