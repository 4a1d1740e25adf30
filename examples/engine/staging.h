// The staging memory of one worker: chunks of equal size, allocated to commands whose data passes
// through the target's memory.
//
// A command gets all its chunks at once or waits, so that two commands never block each other with
// half of their chunks. Free chunks are reused last in, first out, which keeps the working set
// small.
//
// Waiting claims are served so that no host and no store can hold everything (numbers in limits.h):
//  - Claims of one flow are served in order. Among hosts, the one that holds least is next.
//  - A host may hold kHostShare times what it leaves free. A store may hold kStoreShare times what
//    is free; what the requesting host holds for it counts too. So a host or a store that returns
//    nothing always leaves memory for others, and a single one still has most of the memory.
//  - A host that holds nothing is limited only by its store's share and by the free chunks.
//    kMaxChunks are kept free for such hosts, so that short claims of others do not starve a long
//    claim.
//  - kUrgentChunks are reserved for urgent claims (flows without a store). No host takes more than
//    half of these. A longer claim waits for other memory.
//
// A Claim is embedded in the command. `ready` is called once for each take() that returned false,
// unless cancel() was called first; always from the loop, never from inside a call of Staging. The
// time of each call is independent of the number of claims.
//
// Thread safety: the worker's thread. Ownership: Staging owns the memory and outlives all claims on
// it. The caller owns claims and flows.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/counters.h"
#include "examples/engine/limits.h"
#include "examples/engine/staging_share.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"
#include "mrpool/types.h"

namespace mrpool::engine {

// Anonymous memory, allocated by the kernel on first use and released by the destructor.
class Pages {
 public:
  static absl::StatusOr<Pages> create(size_t bytes);
  Pages() = default;
  Pages(Pages&& other) noexcept : memory_(other.memory_) { other.memory_ = {}; }
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();
  std::span<std::byte> memory() const { return memory_; }

 private:
  std::span<std::byte> memory_;
};

class StagingClaim : public ListHook {
 public:
  using Ready = void (*)(StagingClaim& self);
  explicit StagingClaim(Ready ready) : ready_(ready) {}
  StagingClaim(const StagingClaim&) = delete;
  StagingClaim& operator=(const StagingClaim&) = delete;

  uint32_t held() const { return held_; }  // chunks
  bool waiting() const { return waiting_; }

 private:
  friend class Staging;
  const Ready ready_;
  StagingFlow* flow_ = nullptr;  // while it waits or holds chunks
  uint16_t held_ = 0;
  uint16_t wanted_ = 0;
  bool waiting_ = false;
  bool inside_ = false;  // the store works on its memory
  Nanoseconds waits_since_{};
  std::array<uint16_t, kMaxChunks> chunks_;
};

class Staging {
 public:
  // Rounds `bytes` down to whole chunks, at least one.
  static absl::StatusOr<std::unique_ptr<Staging>> create(Reactor& reactor, uint64_t bytes);
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The host with that name, and its flow to the store with `key` (its volume; null: no store).
  // Equal arguments return the same object while a reference to it exists.
  std::shared_ptr<StagingHost> host(std::string_view name);
  std::shared_ptr<StagingFlow> flow(const std::shared_ptr<StagingHost>& host, const void* key);

  // Takes all `chunks` (1 to kMaxChunks). False: the claim waits, and `ready` follows when it has
  // them. The claim must neither wait nor hold chunks.
  [[nodiscard]] bool take(StagingClaim& claim, StagingFlow& flow, uint32_t chunks);
  // The store works on the claim's memory until leave_store() or put(). Meanwhile the chunks count
  // against the store's share, for all hosts together. No effect on a claim without chunks.
  void enter_store(StagingClaim& claim);
  void leave_store(StagingClaim& claim);
  // Returns all chunks; no effect on a claim without chunks.
  void put(StagingClaim& claim);
  // Removes a waiting claim.
  void cancel(StagingClaim& claim);

  // The address of byte `offset` of the claimed memory; contiguous up to the end of its chunk.
  std::byte* at(const StagingClaim& claim, uint64_t offset) const {
    return chunk(claim.chunks_[offset / kChunk]) + offset % kChunk;
  }
  // `length` bytes of the claimed memory from `offset` on, in the form for storage and in the form
  // for work requests. `out` must have an element for every chunk; returns how many were filled.
  size_t vectors(const StagingClaim& claim, uint64_t offset, uint64_t length,
                 std::span<iovec> out) const;
  size_t sges(const StagingClaim& claim, uint64_t offset, uint64_t length, Lkey key,
              std::span<Sge> out) const;

  std::span<std::byte> memory() const { return pages_.memory(); }
  size_t total() const { return pages_.memory().size() / kChunk; }
  size_t available() const { return free_.size(); }
  size_t in_use() const { return total() - available(); }
  size_t high_water() const { return use_.high_water.load(std::memory_order_relaxed); }
  size_t waiting() const { return waiting_; }
  // Since the start: the number of claims that had to wait, and the total time that those waited
  // which have ended waiting.
  uint64_t waits() const { return use_.waits; }
  uint64_t wait_ns() const { return use_.wait_ns; }
  // The same numbers and in_use() for other threads; the values are not consistent with each other.
  struct Use {
    std::atomic<size_t> in_use{0};
    std::atomic<size_t> high_water{0};
    Counter waits;
    Counter wait_ns;
  };
  const Use& use() const { return use_; }

 private:
  // Whether a claim may be granted, or what it waits for.
  enum class Verdict : uint8_t { kYes, kStore, kMemory };

  Staging(Reactor& reactor, Pages pages);
  std::byte* chunk(uint16_t index) const { return memory().data() + size_t{index} * kChunk; }
  Verdict look(const StagingFlow& flow, uint32_t chunks) const;
  void grant(StagingClaim& claim);
  void note_use();
  void wait(StagingClaim& claim);
  void leave_queue(StagingClaim& claim);
  void serve_soon();
  void serve();
  static bool follows(const StagingHost* host, const StagingHost* next);
  bool serve_one(StagingHost& host);

  Reactor& reactor_;
  const Pages pages_;
  const uint32_t urgent_;  // chunks reserved for urgent claims
  const uint32_t spare_;   // chunks reserved for hosts that hold none
  std::vector<uint16_t> free_;
  Use use_;  // relaxed: statistics, with one writer
  std::map<std::string, std::weak_ptr<StagingHost>, std::less<>> hosts_;
  std::map<const void*, std::weak_ptr<StagingStore>> stores_;
  std::map<std::pair<const StagingHost*, const void*>, std::weak_ptr<StagingFlow>> flows_;
  List<StagingHost> needy_;          // with waiting claims
  std::vector<StagingHost*> round_;  // a copy of needy_, while they are served
  size_t waiting_ = 0;
  // Serves waiting claims from the loop, not from inside put().
  Bound<Task, &Staging::serve> server_{*this};
  bool serving_soon_ = false;
};

}  // namespace mrpool::engine
