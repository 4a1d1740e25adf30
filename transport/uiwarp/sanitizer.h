// The ordering sanitizer: makes data visible as late and in as random an order as relaxed ordering
// allows.
//
// PCIe relaxed ordering lets a device's writes to a region pass each other until something orders
// them. The sanitizer withholds all payload for such regions, tagged or not, in chunks. They become
// visible in a seeded random order, at the last moment that the contract (mrpool/work.h) allows:
//
//   a receive's, READ's or atomic's      all that this Qp placed before it, right before done()
//   completion
//   any other send-queue completion      data of READs and atomics before it (they may have been
//                                        unsignalled),
//                                        and data for a key that a kLocalInv before it ended
//   a fenced request                     data of READs and atomics before it: it may send them on
//   answering a READ or atomic of the    all that this Qp placed before
//   peer
//   the end of the connection            all
//   a registration's end, renew()        all, of every Qp: no byte is placed through it afterwards
//
// A completion that orders data is delayed by some rounds, in which chunks become visible one by
// one. Without a completion they become visible one by one too (trickle). So a program that polls
// memory finds its flag, or the last byte, before the rest of the data, instead of waiting forever.
//
// Data for regions with kDisableRelaxedOrdering is not withheld.
//
// Where two WRITEs to the same bytes come before one completion, each byte may be of either WRITE.
// With an observer (hold_observer.h) it is of the later one. The observer reports an early access,
// so the program need not fail, and a program that polls for the last value ends.
//
// Its options (placement, poison, seed) are DeviceOptions in transport/uiwarp/open.h. To add one: a
// field there and a branch of parse_options in open.cc.
//
// Thread safety: WithheldData: its Qp's reactor; settle_all: any thread. One lock per device: this
// is a debugging aid, not a fast path.
// Ownership: the sanitizer outlives its WithheldData.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <vector>

#include "mrpool/ordering_report.h"
#include "transport/uiwarp/hold_observer.h"

namespace mrpool::uiwarp {

class WithheldData;

// A moment that orders data of one Qp, noted when a completion is queued.
struct OrderPoint {
  uint64_t stamp = 0;  // orders what was placed up to here; 0: nothing
  bool only_reads = false;
};

class OrderingSanitizer {
 public:
  OrderingSanitizer(uint64_t seed, bool poison);
  ~OrderingSanitizer();
  OrderingSanitizer(const OrderingSanitizer&) = delete;
  OrderingSanitizer& operator=(const OrderingSanitizer&) = delete;

  std::unique_ptr<WithheldData> withhold_for_qp(const Qp* qp);
  void opted_out() { opted_out_.fetch_add(1, std::memory_order_relaxed); }
  // Everything withheld becomes visible.
  void settle_all();
  OrderingReport report() const;

 private:
  friend class WithheldData;
  const uint64_t seed_;
  const bool poison_;
  mutable std::mutex mutex_;
  std::vector<WithheldData*> members_;
  uint64_t next_member_ = 0;
  OrderingReport counts_;
  std::atomic<uint64_t> opted_out_{0};
};

// What is held back on one Qp.
class WithheldData {
 public:
  enum class Kind : uint8_t { kWrite, kReadResponse, kReceive };

  // `qp` only stands for whose it is.
  WithheldData(OrderingSanitizer& owner, uint64_t seed, const Qp* qp);
  ~WithheldData();
  WithheldData(const WithheldData&) = delete;
  WithheldData& operator=(const WithheldData&) = delete;

  // `bytes` at `from`, of a segment of `whole`, are for `to`, under `key`. Copied.
  void hold(std::byte* to, const std::byte* from, size_t bytes, size_t whole, Kind kind,
            uint32_t key);
  // What was held so far has stamps up to this.
  uint64_t stamp() const { return stamp_; }
  bool empty() const;

  // A completion with that point is about to be given. False: not in this round, a part became
  // visible. True: all that it orders is visible.
  bool reach(const OrderPoint& point);
  void order_all() { order({.stamp = ~uint64_t{0}}); }
  // The connection has ended.
  void end();
  void order_reads() { order({.stamp = ~uint64_t{0}, .only_reads = true}); }
  // The key was invalidated in the send queue: what is for it counts as READ data from now on.
  void invalidated(uint32_t key);
  // A round went by: now and then a random chunk becomes visible.
  void trickle();

 private:
  friend class OrderingSanitizer;
  using Places = std::map<std::byte*, size_t>;  // where a chunk is for → its index
  struct Chunk {
    uint64_t stamp;
    std::byte* to;
    std::vector<std::byte> data;
    Kind kind;
    uint32_t key;
    int64_t since;           // nanoseconds
    Places::iterator place;  // where somebody listens
  };

  size_t piece_of(size_t whole);
  void hold_chunks(std::byte* to, const std::byte* from, size_t bytes, size_t whole, Kind kind,
                   uint32_t key);
  bool show_or_wait(const OrderPoint& point);
  uint64_t below(uint64_t limit) { return random_() % limit; }
  // Under the owner's lock.
  void show(size_t index);
  void show_overlapped(std::byte* to, size_t bytes);
  void moved_to(size_t index);
  void show_where(const OrderPoint& point);
  size_t gather(const OrderPoint& point);
  void order(const OrderPoint& point);

  OrderingSanitizer& owner_;
  const Qp* const qp_;
  std::mt19937_64 random_;
  const bool in_order_;         // of two chunks for the same bytes the later one wins
  std::vector<Chunk> chunks_;   // in no order
  Places places_;               // of chunks_, which do not overlap; empty unless in_order_
  std::set<uint64_t> waiting_;  // their stamps
  size_t bytes_ = 0;
  uint64_t stamp_ = 0;
  uint32_t rounds_to_wait_ = 0;  // until the next chunk trickles out
  uint32_t rounds_to_hold_ = 0;  // the completion that is due
  bool holding_ = false;
};

}  // namespace mrpool::uiwarp
