#include "transport/provider/premature_access.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>

#include "absl/strings/str_format.h"
#include "mrpool/internal/report.h"
#include "transport/checker/checker.h"
#include "transport/checker/guard/choose.h"
#include "transport/checker/monitor.h"
#include "transport/checker/options.h"
#include "transport/checker/received_bytes.h"
#include "transport/provider/qp_object.h"
#include "transport/provider/touches.h"

namespace mrpool::provider {
namespace {

using checker::ReceivedBytes;

// A guard::Note, word by word.
enum NoteWord : uint8_t { kBrought, kQp, kRegion, kRegionBytes, kKey, kUnused };

guard::Note to_note(const ReceivedBytes& bytes) {
  guard::Note note{};
  note[kBrought] = static_cast<uint64_t>(bytes.brought);
  note[kQp] = bytes.qp;
  note[kRegion] = bytes.region;
  note[kRegionBytes] = bytes.region_bytes;
  note[kKey] = bytes.lkey;
  return note;
}

ReceivedBytes from_note(const guard::Note& note) {
  return {.brought = static_cast<ReceivedBytes::Brought>(note[kBrought]),
          .qp = static_cast<uint32_t>(note[kQp]),
          .region = note[kRegion],
          .region_bytes = note[kRegionBytes],
          .lkey = static_cast<uint32_t>(note[kKey])};
}

std::string text_of(const guard::Touch& touch) {
  const char* how = touch.write ? "a store to" : "a load of";
  if (touch.system_call) how = touch.write ? "a system call wrote" : "a system call read";
  return checker::text_of(how, touch.address, from_note(touch.note));
}

void touched(const guard::Touch& touch) {
  note_touch(touch);
  // The thread may be asleep, and the program need not call again.
  Engine::wake_to_report();
}

void may_end() {
  // The report is written at the end of each session.
  if (Engine* engine = Engine::made()) const Session session(*engine);
}

void describe(const guard::Note& note, char* text, size_t bytes) {
  const ReceivedBytes received = from_note(note);
  if (checker::monitored()) {
    absl::SNPrintF(text, bytes, "%s", checker::to_word(received));
  } else {
    absl::SNPrintF(text, bytes, "range that came by %s: MR lkey 0x%x,",
                   checker::origin_of(received), received.lkey);
  }
}

// Why a guard that was asked for does not work.
absl::Status no_guard(std::string_view wanted) {
  const char* why = "it needs x86-64 and libmrpool-guard.so, which mrpool-run preloads";
  if (wanted == checker::kAsanGuard) why = "the program was not built with -fsanitize=address";
  if (wanted == checker::kValgrindGuard) why = "the program does not run under Valgrind";
  return absl::InvalidArgumentError(
      absl::StrFormat("--guard=%s does not work here: %s; leave it out for one that does",
                      absl::string_view(wanted.data(), wanted.size()), why));
}

}  // namespace

PrematureAccess* PrematureAccess::instance_ = nullptr;

absl::Status PrematureAccess::start(Engine& engine) {
  if (checker::Checker::get() == nullptr) return absl::OkStatus();
  if (instance_ == nullptr) {
    const char* const set = std::getenv(checker::kGuardVariable);
    const std::string_view wanted = set == nullptr ? "" : set;
    if (wanted == checker::kNoGuard) return absl::OkStatus();
    guard::Guard* guard = guard::choose(wanted);
    if (guard == nullptr ||
        !guard->start({.touched = &touched, .may_end = &may_end, .describe = &describe})) {
      if (!wanted.empty()) return no_guard(wanted);
      internal::report("no guard works here: premature access is not looked for", LogLevel::kError);
      return absl::OkStatus();
    }
    // The first backtrace of a process loads what it needs, which a handler cannot wait for.
    (void)checker::Stack::capture();
    instance_ = new PrematureAccess(*guard);
    uiwarp::HoldObserver::observe(instance_);
  }
  instance_->engine_ = &engine;
  instance_->arrivals_.clear();
  return absl::OkStatus();
}

void PrematureAccess::region_made(const ibv_mr& mr) {
  const guard::Range range = guard::range_of(mr.addr, mr.length);
  regions_.emplace(range.begin, Region{range.end, mr.lkey});
  guard_.add_region(range);
  checker::tell_registered(mr.lkey);
}

void PrematureAccess::region_ended(const ibv_mr& mr) {
  const guard::Range range = guard::range_of(mr.addr, mr.length);
  const auto [first, last] = regions_.equal_range(range.begin);
  const auto found =
      std::find_if(first, last, [&](const auto& each) { return each.second.lkey == mr.lkey; });
  if (found != last) regions_.erase(found);
  guard_.remove_region(range);
}

guard::Note PrematureAccess::note_of(const Qp* qp, const uiwarp::Held& held) const {
  using Brought = ReceivedBytes::Brought;
  ReceivedBytes out;
  if (held.read_response)
    out.brought = Brought::kRead;
  else if (held.receive)
    out.brought = Brought::kSend;
  if (QpObject* owner = engine_->owner_of(qp)) out.qp = owner->abi()->qp_num;
  const auto address = reinterpret_cast<uintptr_t>(held.to);
  out.region = address;
  // The one with that key, else the last to start before the bytes: keys of READ sinks are not the
  // program's.
  for (auto it = regions_.upper_bound(address); it != regions_.begin();) {
    --it;
    if (it->second.end <= address) continue;
    if (out.region_bytes != 0 && it->second.lkey != held.key) continue;
    out.region = it->first;
    out.region_bytes = it->second.end - it->first;
    out.lkey = it->second.lkey;
    if (it->second.lkey == held.key) break;
  }
  return to_note(out);
}

void PrematureAccess::held(const Qp* qp, const uiwarp::Held& held) {
  const guard::Handle handle = guard_.arm(guard::range_of(held.to, held.bytes), note_of(qp, held));
  if (handle == 0) return;
  std::deque<Arrival>& arrivals = arrivals_[qp];
  arrivals.push_back({held.stamp, handle, held.key, held.read_response});
  if (arrivals.size() <= kMaxArrivals) return;
  guard_.disarm(arrivals.front().handle);
  arrivals.pop_front();
}

void PrematureAccess::invalidated(const Qp* qp, uint32_t key) {
  const auto found = arrivals_.find(qp);
  if (found == arrivals_.end()) return;
  for (Arrival& arrival : found->second) {
    if (arrival.key == key) arrival.of_read = true;
  }
}

void PrematureAccess::reached(const Qp* qp, const uiwarp::OrderPoint& point) {
  reached_ = {.qp = qp, .point = point};
}

void PrematureAccess::polled(const OrderedData& data) {
  const auto found = arrivals_.find(data.qp);
  if (found == arrivals_.end()) return;
  std::erase_if(found->second, [&](const Arrival& arrival) {
    if (arrival.stamp > data.point.stamp) return false;
    if (data.point.only_reads && !arrival.of_read) return false;
    guard_.disarm(arrival.handle);
    return true;
  });
}

void PrematureAccess::ended(const Qp* qp) {
  polled({.qp = qp, .point = {.stamp = ~uint64_t{0}}});
  arrivals_.erase(qp);
}

void PrematureAccess::report() {
  checker::Checker& checker = *checker::Checker::get();
  while (const std::optional<NotedTouch> noted = take_touch()) {
    const auto key = static_cast<uint32_t>(noted->touch.note[kKey]);
    checker.report().add({.kind = checker::Kind::kPrematureAccess,
                          .text = text_of(noted->touch),
                          .where = noted->stack,
                          .origins = checker.registered(key)});
  }
}

}  // namespace mrpool::provider
