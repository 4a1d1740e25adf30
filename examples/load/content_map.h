// What each block of a job's region must hold: the number of the last write that was acknowledged.
//
// With it a read that returns an older write, intact and in place, is caught, which checksums alone
// cannot. A block with a write under way is neither read nor written by anyone else, and one with
// reads under way is not written, so that every answer has exactly one right content. A write that
// is retried, by a lost connection for example, repeats the same bytes and keeps the rule.
//
// A block is 8 bytes here. Thread safety: distinct objects: safe.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace mrpool::load {

class ContentMap {
 public:
  // As calloc's the memory is zeroed page by page, when it is first touched.
  explicit ContentMap(uint64_t blocks)
      : size_(blocks), entries_(static_cast<Entry*>(std::calloc(blocks, sizeof(Entry)))) {
    if (entries_ == nullptr) throw std::bad_alloc();
  }

  // 0: not written in this run.
  uint64_t expected(uint64_t block) const { return entries_[block].sequence; }
  uint64_t size() const { return size_; }

  bool start_read(uint64_t block) {
    Entry& entry = entries_[block];
    if (entry.writing || entry.readers == kMaxReaders) return false;
    ++entry.readers;
    return true;
  }
  void end_read(uint64_t block) { --entries_[block].readers; }

  bool start_write(uint64_t block) {
    Entry& entry = entries_[block];
    if (entry.writing || entry.readers != 0) return false;
    entry.writing = true;
    return true;
  }
  void end_write(uint64_t block, uint64_t sequence) {
    entries_[block].writing = false;
    entries_[block].sequence = sequence & kMaxSequence;
  }
  // The write failed and is not repeated: the block may hold the old or the new content, or parts
  // of both.
  // It counts as not written from here on.
  void fail_write(uint64_t block) { end_write(block, 0); }

  static constexpr uint64_t kMaxSequence = (uint64_t{1} << 48) - 1;

 private:
  static constexpr uint32_t kMaxReaders = (1u << 15) - 1;
  struct Entry {
    uint64_t sequence : 48;
    uint64_t readers : 15;
    uint64_t writing : 1;
  };
  static_assert(sizeof(Entry) == 8);
  struct Free {
    void operator()(Entry* entries) const { std::free(entries); }
  };
  uint64_t size_;
  std::unique_ptr<Entry[], Free> entries_;
};

}  // namespace mrpool::load
