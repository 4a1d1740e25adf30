// The staging memory of one worker: equal chunks, handed out to commands whose data has to land or
// be read here first.
//
// A command takes all its chunks at once or waits, first come, first served, so that two commands
// never hold half each. Last in, first out among free chunks keeps the working set small.
//
// A Claim is embedded in the command. `ready` is called once for each take() that returned false,
// unless cancel() came first; always from the loop, never from inside a call of Staging.
//
// Thread safety: the worker's thread. Ownership: Staging owns the memory and outlives its claims'
// use of it; claims and owners are the caller's, an owner outlives its claims.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/limits.h"
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

// Who uses staging memory: a connection.
struct StagingOwner {
  uint32_t held = 0;     // chunks
  uint32_t waiting = 0;  // claims
};

class StagingClaim {
 public:
  using Ready = void (*)(StagingClaim& self);
  StagingClaim(StagingOwner& owner, Ready ready) : owner_(owner), ready_(ready) {}
  StagingClaim(const StagingClaim&) = delete;
  StagingClaim& operator=(const StagingClaim&) = delete;

  uint32_t held() const { return held_; }  // chunks
  bool waiting() const { return waiting_; }
  StagingOwner& owner() const { return owner_; }

 private:
  friend class Staging;
  StagingOwner& owner_;
  const Ready ready_;
  StagingClaim* next_ = nullptr;
  uint16_t held_ = 0;
  uint16_t wanted_ = 0;
  bool waiting_ = false;
  std::array<uint16_t, kMaxChunks> chunks_;
};

class Staging {
 public:
  // `bytes` is rounded down to whole chunks, at least one.
  static absl::StatusOr<std::unique_ptr<Staging>> create(Reactor& reactor, uint64_t bytes);
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // All `chunks` (1 to kMaxChunks), or false: `ready` follows when they are there.
  [[nodiscard]] bool take(StagingClaim& claim, uint32_t chunks);
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
  size_t high_water() const { return high_water_; }
  size_t waiting() const { return waiting_; }
  uint64_t waits() const { return waits_; }  // claims that had to wait, since the start

 private:
  // Claims that wait are served from the loop, not from inside put().
  struct Server : Task {
    explicit Server(Staging& owner);
    Staging& staging;
    bool posted = false;
  };
  Staging(Reactor& reactor, Pages pages);
  std::byte* chunk(uint16_t index) const { return memory().data() + size_t{index} * kChunk; }
  void grant(StagingClaim& claim);
  void serve_soon();
  void serve();

  Reactor& reactor_;
  const Pages pages_;
  std::vector<uint16_t> free_;
  size_t high_water_ = 0;
  StagingClaim* first_ = nullptr;
  StagingClaim* last_ = nullptr;
  size_t waiting_ = 0;
  uint64_t waits_ = 0;
  Server server_;
};

}  // namespace mrpool::engine
