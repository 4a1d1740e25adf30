// READs, and atomics, between request and last response byte, as two rings: those of this side
// (OwnReads), and those of the peer that this side still answers (PeerReads).
//
// The send side starts own READs and answers the peer's; the receive side does the opposite ends of
// both. Responses come in the order of the requests (RFC 5040 §5.2), so each is a queue. An atomic
// is requested in the queue of READs and counts as one of them (RFC 7306). The agreed ORD and IRD
// bound them; start() allocates all there will be.
//
// Thread safety: the reactor of their Qp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

// A queue of a size that is set once.
template <typename Item>
class ReadRing {
 public:
  void allocate(size_t items) { items_.resize(items); }
  uint32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  size_t memory_bytes() const { return items_.capacity() * sizeof(Item); }

  // Requires room.
  void push(const Item& item) { items_[(head_ + count_++) % items_.size()] = item; }
  // Requires !empty().
  Item& front() { return items_[head_]; }
  void pop() {
    head_ = (head_ + 1) % static_cast<uint32_t>(items_.size());
    --count_;
  }
  const Item& at(uint32_t i) const { return items_[(head_ + i) % items_.size()]; }
  void clear() { count_ = 0; }
  size_t capacity() const { return items_.size(); }

 private:
  std::vector<Item> items_;
  uint32_t head_ = 0;
  uint32_t count_ = 0;
};

class OwnReads {
 public:
  // The slot of the READ that only makes the peer ready to send (RFC 6581 §8): no request of the
  // program's.
  static constexpr uint32_t kReadyRead = ~0u;

  struct Read {
    uint32_t slot = 0;  // of its request in the send queue
    uint32_t stag = 0;  // the sink
    uint64_t offset = 0;
    uint32_t length = 0;
    uint32_t received = 0;
    uint32_t msn = 0;
    bool atomic = false;  // no sink by name: the response brings the value, and the request has it
  };

  void start(uint16_t ord) {
    ord_ = ord;
    ring_.allocate(size_t{ord} + 1);  // and the ready READ
  }
  bool full() const { return ring_.count() >= ord_; }
  uint32_t count() const { return ring_.count(); }
  bool empty() const { return ring_.empty(); }
  // Bytes that are still to come.
  uint64_t bytes() const { return bytes_; }

  void add(const Read& read) {
    ring_.push(read);
    bytes_ += read.length;
  }
  Read& oldest() { return ring_.front(); }
  // For the oldest.
  void came(uint32_t bytes) {
    ring_.front().received += bytes;
    bytes_ -= bytes;
  }
  void finish_oldest() { ring_.pop(); }
  // The request whose sink that is; null when there is none.
  const Read* find(uint32_t stag, uint64_t offset) const {
    for (uint32_t i = 0; i < ring_.count(); ++i) {
      const Read& read = ring_.at(i);
      if (read.slot != kReadyRead && !read.atomic && read.stag == stag && read.offset == offset) {
        return &read;
      }
    }
    return nullptr;
  }
  // The atomic with that MSN; null when there is none.
  const Read* find_atomic(uint32_t msn) const {
    for (uint32_t i = 0; i < ring_.count(); ++i) {
      const Read& read = ring_.at(i);
      if (read.atomic && read.msn == msn) return &read;
    }
    return nullptr;
  }
  void clear() {
    ring_.clear();
    bytes_ = 0;
  }
  size_t memory_bytes() const { return ring_.memory_bytes(); }

 private:
  ReadRing<Read> ring_;
  uint16_t ord_ = 0;
  uint64_t bytes_ = 0;
};

class PeerReads {
 public:
  struct Read {
    std::variant<ReadRequest, AtomicRequest> request;
    uint32_t msn = 0;
    uint32_t sent = 0;
  };

  void start(uint16_t ird) { ring_.allocate(ird); }
  bool full() const { return ring_.count() == ring_.capacity(); }
  uint32_t count() const { return ring_.count(); }
  bool empty() const { return ring_.empty(); }
  // `msn` goes into the Terminate when the request cannot be answered.
  void add(const ReadRequest& request, uint32_t msn) {
    ring_.push({.request = request, .msn = msn});
  }
  void add(const AtomicRequest& request, uint32_t msn) {
    ring_.push({.request = request, .msn = msn});
  }
  Read& oldest() { return ring_.front(); }
  void finish_oldest() { ring_.pop(); }
  void clear() { ring_.clear(); }
  size_t memory_bytes() const { return ring_.memory_bytes(); }

 private:
  ReadRing<Read> ring_;
};

}  // namespace mrpool::uiwarp
