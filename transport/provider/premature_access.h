// mrpool-run --check: received bytes are guarded until the program has polled a completion that
// orders them.
//
//   the sanitizer withholds bytes          held()      a guard is armed
//   a completion that orders them is given reached()   its CQ entry remembers what it orders
//   the program polls that entry           polled()    the guards end
//   the program touches them before        touched()   noted in the signal handler, reported by the
//                                                      next call into the provider or its thread
//
// Guards end without a completion when the connection or the region ends. Later reads of the bytes
// are not reported.
//
// Thread safety: under the engine's lock, but for guard() and what a touch calls.
// Ownership: lives until the process ends.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "transport/checker/guard/guard.h"
#include "transport/provider/completion_order.h"
#include "transport/uiwarp/hold_observer.h"

namespace mrpool::provider {

class Engine;

class PrematureAccess final : public uiwarp::HoldObserver {
 public:
  // Null: the program is not checked, or no guard works in it.
  static PrematureAccess* get() { return instance_; }
  static guard::Guard* guard() { return instance_ == nullptr ? nullptr : &instance_->guard_; }
  // When the checker runs, for each engine of the process: a forked child has one of its own. An
  // error: the guard that was asked for does not work here.
  static absl::Status start(Engine& engine);

  void region_made(const ibv_mr& mr);
  void region_ended(const ibv_mr& mr);

  // HoldObserver.
  void held(const Qp* qp, const uiwarp::Held& held) override;
  bool place(std::byte* to, const std::byte* from, size_t bytes) override {
    return guard_.place(to, from, bytes);
  }
  void invalidated(const Qp* qp, uint32_t key) override;
  void reached(const Qp* qp, const uiwarp::OrderPoint& point) override;
  void ended(const Qp* qp) override;

  // What the completion orders that is being given now.
  std::optional<OrderedData> take_reached() { return std::exchange(reached_, std::nullopt); }
  void polled(const OrderedData& data);

  // Reports what was touched since the last call.
  void report();

 private:
  struct Arrival {
    uint64_t stamp;
    guard::Handle handle;
    uint32_t key;
    bool of_read;
  };
  struct Region {
    uintptr_t end;
    uint32_t lkey;
  };
  // Of one connection; the guards of the oldest end beyond that.
  static constexpr size_t kMaxArrivals = 8192;

  explicit PrematureAccess(guard::Guard& guard) : guard_(guard) {}
  guard::Note note_of(const Qp* qp, const uiwarp::Held& held) const;

  static PrematureAccess* instance_;

  Engine* engine_ = nullptr;
  guard::Guard& guard_;
  std::multimap<uintptr_t, Region> regions_;  // by their start
  std::unordered_map<const Qp*, std::deque<Arrival>> arrivals_;
  std::optional<OrderedData> reached_;
};

}  // namespace mrpool::provider
