// The program's work requests from their post to the poll of their completion, and the memory that
// belongs to them.
//
// Thread safety: under the checker's lock.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/checker/memory_copy.h"
#include "transport/checker/stack.h"

namespace mrpool::checker {

enum class Operation : uint8_t { kSend, kWrite, kRead, kAtomic, kReceive };

// The device writes the memory of these.
inline bool is_target(Operation operation) {
  return operation == Operation::kRead || operation == Operation::kAtomic ||
         operation == Operation::kReceive;
}

struct Request {
  Operation operation = Operation::kSend;
  uint64_t wr_id = 0;
  uint32_t qp_num = 0;  // 0: of an SRQ
  bool signalled = false;
  std::vector<Piece> pieces;  // none of inline data
  Stack posted;
  MemoryCopy copy;       // what the memory has to hold; nothing where it cannot be known
  bool begun = false;    // the device has begun to write
  bool retired = false;  // the device has done it
  bool entered = false;  // with an entry in the CQ
};

// "SEND wr_id 7 (4096 bytes, QP 0x12)"
std::string to_string(const Request& request);

// Who owns which bytes.
class Spans {
 public:
  void add(Request& request);
  void remove(const Request& request);
  // The other requests that own one of those bytes.
  std::vector<Request*> overlapping(const std::vector<Piece>& pieces, const Request* but) const;

 private:
  struct Span {
    uintptr_t end;
    Request* request;
  };
  std::multimap<uintptr_t, Span> spans_;  // by their first byte
  size_t longest_ = 0;
};

struct WorkQueue {
  Stack made;
  bool closing = false;  // disconnected, or in error: what is outstanding fails or is over
  bool full_reported = false;
  std::deque<std::unique_ptr<Request>> sends;    // until a completion that covers them is polled
  std::deque<std::unique_ptr<Request>> arrived;  // receives with an entry in the CQ
  uint64_t first_wr_id = 0;
  bool varies = false;  // the wr_ids of its sends are not all the same
};

struct Work {
  std::map<uint32_t, WorkQueue> queues;  // by QP number
  // Posted receives, by what the device knows them by.
  std::unordered_map<const void*, std::unique_ptr<Request>> receives;
  Spans spans;

  void forget(std::unique_ptr<Request> request) { spans.remove(*request); }
  // All that is outstanding on that QP.
  void drop(uint32_t qp_num);
};

}  // namespace mrpool::checker
