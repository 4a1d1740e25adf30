// A command of a caller's, as a queue takes it, and the lists that it waits in.
//
// Ownership: a Request and its data are the caller's and stay until done(); a list links requests
// and owns none. Thread safety: the thread of the queue's reactor.
#pragma once

#include <cstdint>
#include <utility>

#include "examples/protocol/nvme/wire.h"
#include "mrpool/reactor.h"
#include "mrpool/types.h"

namespace mrpool::nvme::host {

struct Outcome {
  Status status = Status::kSuccess;
  uint64_t result = 0;  // CQE DW0 and DW1
};

class Request {
 public:
  using Done = void (*)(Request& self, const Outcome& outcome);
  explicit Request(Done done) : done_(done) {}
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // Opcode, namespace and CDW10..15, or a Fabrics command; flags and SGL are the queue's, and so is
  // the identifier, by which an Abort may name it since it was sent.
  Sqe command;
  Sge data;                 // length 0: none
  bool never_late = false;  // exempt from the time-out: waits for an event

 private:
  friend class Queue;
  friend class RequestList;
  friend class Retries;
  Done done_;
  Request* next_ = nullptr;
  Request* second_ = nullptr;             // of a fused operation, while this is the first and waits
  Status ended_with_ = Status::kSuccess;  // while it waits for its done()
  uint8_t retries_ = 0;
  Nanoseconds due_{0};  // of the next attempt
};

// First in, first out.
class RequestList {
 public:
  bool empty() const { return head_ == nullptr; }
  // Requires !empty().
  Request& front() const { return *head_; }
  void push(Request& request) {
    request.next_ = nullptr;
    (tail_ == nullptr ? head_ : tail_->next_) = &request;
    tail_ = &request;
  }
  void push_front(Request& request) {
    request.next_ = head_;
    head_ = &request;
    if (tail_ == nullptr) tail_ = &request;
  }
  // Requires !empty().
  Request& pop() {
    Request& request = *head_;
    head_ = std::exchange(request.next_, nullptr);
    if (head_ == nullptr) tail_ = nullptr;
    return request;
  }

 private:
  Request* head_ = nullptr;
  Request* tail_ = nullptr;
};

}  // namespace mrpool::nvme::host
