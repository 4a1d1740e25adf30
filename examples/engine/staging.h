// The staging memory of one worker: a bounded number of equal chunks, handed out to commands whose
// data has to land or be read here first.
//
// A command takes all its chunks at once or waits, first come, first served, so that two commands
// never hold half each. Last in, first out among free chunks keeps the working set small.
//
// Thread safety: the worker's thread. Ownership: the pool owns the memory; chunks are numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::nvmf_target {

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

class BufferPool {
 public:
  static constexpr uint32_t kChunk = 128 << 10;

  static absl::StatusOr<std::unique_ptr<BufferPool>> create(uint64_t bytes);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  static uint32_t chunks_for(uint64_t bytes) { return uint32_t((bytes + kChunk - 1) / kChunk); }

  std::span<std::byte> memory() const { return memory_; }
  std::byte* chunk(uint16_t index) const { return memory_.data() + size_t(index) * kChunk; }
  size_t offset(uint16_t index) const { return size_t(index) * kChunk; }

  // All `out.size()` chunks, or none and false.
  bool take(std::span<uint16_t> out) {
    if (free_.size() < out.size()) return false;
    for (uint16_t& index : out) {
      index = free_.back();
      free_.pop_back();
    }
    if (const size_t used = total() - free_.size(); used > high_water_) high_water_ = used;
    return true;
  }
  void put(std::span<const uint16_t> chunks) {
    for (size_t i = chunks.size(); i-- > 0;) free_.push_back(chunks[i]);
  }

  size_t total() const { return memory_.size() / kChunk; }
  size_t available() const { return free_.size(); }
  size_t high_water() const { return high_water_; }

 private:
  explicit BufferPool(std::span<std::byte> memory);
  Pages pages_;
  std::span<std::byte> memory_;
  std::vector<uint16_t> free_;
  size_t high_water_ = 0;
};

}  // namespace mrpool::nvmf_target
