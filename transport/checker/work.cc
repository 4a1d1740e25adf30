#include "transport/checker/work.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace mrpool::checker {
namespace {

const char* name_of(Operation operation) {
  switch (operation) {
    case Operation::kSend:
      return "SEND";
    case Operation::kWrite:
      return "RDMA WRITE";
    case Operation::kRead:
      return "RDMA READ";
    case Operation::kAtomic:
      return "atomic";
    case Operation::kReceive:
      break;
  }
  return "receive";
}

}  // namespace

std::string to_string(const Request& request) {
  size_t bytes = 0;
  for (const Piece& piece : request.pieces) bytes += piece.length;
  return absl::StrFormat(
      "%s wr_id %u (%u bytes at 0x%x, QP 0x%x)", name_of(request.operation), request.wr_id, bytes,
      request.pieces.empty() ? uintptr_t{0} : request.pieces[0].start, request.qp_num);
}

void Spans::add(Request& request) {
  for (const Piece& piece : request.pieces) {
    if (piece.length == 0) continue;
    spans_.emplace(piece.start, Span{piece.start + piece.length, &request});
    longest_ = std::max(longest_, piece.length);
  }
}

void Spans::remove(const Request& request) {
  for (const Piece& piece : request.pieces) {
    auto [at, last] = spans_.equal_range(piece.start);
    while (at != last) {
      at = at->second.request == &request ? spans_.erase(at) : std::next(at);
    }
  }
}

std::vector<Request*> Spans::overlapping(const std::vector<Piece>& pieces,
                                         const Request* but) const {
  std::vector<Request*> out;
  for (const Piece& piece : pieces) {
    const uintptr_t first = piece.start > longest_ ? piece.start - longest_ : 0;
    for (auto at = spans_.lower_bound(first);
         at != spans_.end() && at->first < piece.start + piece.length; ++at) {
      if (at->second.end > piece.start && at->second.request != but) {
        out.push_back(at->second.request);
      }
    }
  }
  return out;
}

void Work::drop(uint32_t qp_num) {
  const auto found = queues.find(qp_num);
  if (found == queues.end()) return;
  for (auto* list : {&found->second.sends, &found->second.arrived}) {
    for (auto& request : *list) spans.remove(*request);
    list->clear();
  }
  std::erase_if(receives, [&](const auto& each) {
    if (each.second->qp_num != qp_num) return false;
    spans.remove(*each.second);
    return true;
  });
}

}  // namespace mrpool::checker
