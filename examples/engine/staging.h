// The staging memory of one worker: equal chunks, handed out to commands whose data has to land or
// be read here first.
//
// A command takes all its chunks at once or waits, so that two commands never hold half each. Last
// in, first out among free chunks keeps the working set small.
//
// Who waits is served so that nobody can hold everything (limits.h has the numbers):
//  - Claims of one flow are served in order. Of several hosts, the one that holds least is next.
//  - A host may hold kHostShare times what it leaves free. A store may keep kStoreShare times as
//    much, with what the host that asks holds for it. So a host or a store that gives nothing back
//    always leaves room for others, however many there are, and alone it still has most of the
//    memory.
//  - A host that holds nothing is only bound by its store's share and by what is free, and some is
//    kept free for it: kMaxChunks, so that a long claim is not starved by the short ones of others.
//  - kUrgentChunks are for urgent claims (flows without a store) alone; no host takes more than
//  half
//    of these. A longer claim waits for other memory.
//
// A Claim is embedded in the command. `ready` is called once for each take() that returned false,
// unless cancel() came first; always from the loop, never from inside a call of Staging. No call
// takes time that grows with the number of claims.
//
// Thread safety: the worker's thread. Ownership: Staging owns the memory and outlives its claims'
// use of it; claims and flows are the caller's.
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

// Anonymous memory that appears when touched and is given back at the end.
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
  StagingFlow* flow_ = nullptr;  // while it waits or holds
  uint16_t held_ = 0;
  uint16_t wanted_ = 0;
  bool waiting_ = false;
  bool inside_ = false;  // with the store
  Nanoseconds waits_since_{};
  std::array<uint16_t, kMaxChunks> chunks_;
};

class Staging {
 public:
  // `bytes` is rounded down to whole chunks, at least one.
  static absl::StatusOr<std::unique_ptr<Staging>> create(Reactor& reactor, uint64_t bytes);
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The host with that name, and its flow to the store that `key` stands for (its volume; null: to
  // none). Whoever asks with the same gets the same for as long as somebody keeps it.
  std::shared_ptr<StagingHost> host(std::string_view name);
  std::shared_ptr<StagingFlow> flow(const std::shared_ptr<StagingHost>& host, const void* key);

  // All `chunks` (1 to kMaxChunks), or false: `ready` follows when they are there. A claim that
  // neither waits nor holds.
  [[nodiscard]] bool take(StagingClaim& claim, StagingFlow& flow, uint32_t chunks);
  // The store has the claim's memory from here on, until leave_store() or put(): what a store keeps
  // counts for it, whoever asked for it. Nothing happens to a claim that holds nothing.
  void enter_store(StagingClaim& claim);
  void leave_store(StagingClaim& claim);
  // Gives all of them back; nothing happens when none are held.
  void put(StagingClaim& claim);
  // Forgets a claim that waits.
  void cancel(StagingClaim& claim);

  // Where byte `offset` of the claimed memory lies. In one piece up to the end of its chunk.
  std::byte* at(const StagingClaim& claim, uint64_t offset) const {
    return chunk(claim.chunks_[offset / kChunk]) + offset % kChunk;
  }
  // `length` bytes of the claimed memory from `offset` on: as storage wants them, and as work
  // requests do. `out` has room for every chunk; returns how many were filled.
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
  // Since the start: claims that had to wait, and how long those waited that do no more.
  uint64_t waits() const { return use_.waits; }
  uint64_t wait_ns() const { return use_.wait_ns; }
  // The same and in_use() for other threads, which see each by itself.
  struct Use {
    std::atomic<size_t> in_use{0};
    std::atomic<size_t> high_water{0};
    Counter waits;
    Counter wait_ns;
  };
  const Use& use() const { return use_; }

 private:
  // Whether a claim may be granted, and what it waits for if not.
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
  const uint32_t urgent_;  // chunks for urgent claims alone
  const uint32_t spare_;   // chunks for hosts that hold nothing
  std::vector<uint16_t> free_;
  Use use_;  // relaxed: statistics, with one writer
  std::map<std::string, std::weak_ptr<StagingHost>, std::less<>> hosts_;
  std::map<const void*, std::weak_ptr<StagingStore>> stores_;
  std::map<std::pair<const StagingHost*, const void*>, std::weak_ptr<StagingFlow>> flows_;
  List<StagingHost> needy_;          // with claims that wait
  std::vector<StagingHost*> round_;  // of them, while they are served
  size_t waiting_ = 0;
  // Claims that wait are served from the loop, not from inside put().
  Bound<Task, &Staging::serve> server_{*this};
  bool serving_soon_ = false;
};

}  // namespace mrpool::engine
