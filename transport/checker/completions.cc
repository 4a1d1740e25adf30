// Checker: what the device does with the program's requests, what the program polls, and what is
// outstanding when an object ends.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/checker/checker.h"

namespace mrpool::checker {

void Checker::report_change(Kind kind, const Request& request, size_t offset, const char* rule,
                            const Stack& where) {
  report_.add({.kind = kind,
               .text = absl::StrFormat("the memory of %s was changed at offset %u %s",
                                       to_string(request), offset, rule),
               .where = where,
               .origins = {{"posted here", request.posted}}});
}

void Checker::written_by_device(const std::vector<Piece>& pieces, const Request* by) {
  for (Request* other : work_.spans.overlapping(pieces, by)) other->copy.drop();
}

void Checker::retired_send(uint32_t qp_num, bool entered) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(qp_num);
  if (found == work_.queues.end()) return;
  auto& sends = found->second.sends;
  const auto oldest = std::ranges::find_if(sends, [](const auto& each) { return !each->retired; });
  if (oldest == sends.end()) return;
  Request& request = **oldest;
  request.retired = true;
  request.entered = entered;
  if (!is_target(request.operation)) return;
  // The completion defines the bytes from now on.
  request.copy.drop();
  if (request.begun) request.copy.take(request.pieces);
}

void Checker::check_begin(Request& request, Kind kind) {
  if (request.begun) return;
  request.begun = true;
  if (const auto offset = request.copy.first_change(request.pieces)) {
    report_change(kind, request, *offset,
                  "by the program while it was outstanding: the bytes belong to the device until "
                  "ibv_poll_cq returns the completion",
                  {});
  }
  request.copy.drop();
  written_by_device(request.pieces, &request);
}

void Checker::receive_begins(const void* receive) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.receives.find(receive);
  if (found != work_.receives.end()) check_begin(*found->second, Kind::kReceiveWritten);
}

void Checker::response_begins(uint32_t qp_num) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(qp_num);
  if (found == work_.queues.end()) return;
  auto& sends = found->second.sends;
  const auto oldest = std::ranges::find_if(sends, [](const auto& each) {
    return each->operation == Operation::kRead && !each->begun && !each->retired;
  });
  if (oldest != sends.end()) check_begin(**oldest, Kind::kSinkWritten);
}

void Checker::retired_receive(uint32_t qp_num, const void* receive, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.receives.find(receive);
  const auto queue = work_.queues.find(qp_num);
  if (found == work_.receives.end()) return;
  std::unique_ptr<Request> request = std::move(found->second);
  work_.receives.erase(found);
  if (queue == work_.queues.end()) return work_.forget(std::move(request));
  const bool shared = !work_.spans.overlapping(request->pieces, request.get()).empty();
  request->copy.drop();
  if (request->begun && !shared) request->copy.take(request->pieces, bytes);
  request->retired = true;
  request->qp_num = qp_num;
  queue->second.arrived.push_back(std::move(request));
}

void Checker::check_source(Request& request, const Stack& where) {
  if (is_target(request.operation) && !request.retired) return;
  if (const auto offset = request.copy.first_change(request.pieces)) {
    const bool target = is_target(request.operation);
    const Kind kind = target ? Kind::kSinkWritten : Kind::kSourceChanged;
    report_change(kind, request, *offset,
                  "before its completion was polled: the bytes belong to the device until "
                  "ibv_poll_cq returns it",
                  where);
  }
  request.copy.drop();
}

// A completion covers the requests before it that asked for none.
void Checker::polled_send(WorkQueue& queue, const ibv_wc& wc) {
  const Stack here = Stack::capture();
  while (!queue.sends.empty()) {
    std::unique_ptr<Request> request = std::move(queue.sends.front());
    queue.sends.pop_front();
    if (wc.status == IBV_WC_SUCCESS) check_source(*request, here);
    const bool last = request->entered;
    work_.forget(std::move(request));
    if (last) return;
  }
}

void Checker::polled_receive(WorkQueue& queue, const ibv_wc& wc) {
  const Stack here = Stack::capture();
  if (!queue.arrived.empty()) {
    std::unique_ptr<Request> request = std::move(queue.arrived.front());
    queue.arrived.pop_front();
    if (const auto offset = request->copy.first_change(request->pieces)) {
      report_change(Kind::kReceiveWritten, *request, *offset,
                    "by the program before its completion was polled", here);
    }
    work_.forget(std::move(request));
  }
  if (wc.status != IBV_WC_SUCCESS) return;
  // The message may be the peer's answer to these: from now on they may change.
  for (auto& request : queue.sends) {
    if (!is_target(request->operation)) check_source(*request, here);
  }
}

void Checker::cq_polled(const void* cq, std::span<const ibv_wc> wcs) {
  const std::lock_guard lock(mutex_);
  cqs_[cq].polled = true;
  for (const ibv_wc& wc : wcs) {
    const auto found = work_.queues.find(wc.qp_num);
    if (found == work_.queues.end()) continue;
    if ((wc.opcode & IBV_WC_RECV) != 0) {
      polled_receive(found->second, wc);
    } else {
      polled_send(found->second, wc);
    }
  }
}

void Checker::cq_pushed(const void* cq, size_t depth, size_t entries, bool success) {
  const std::lock_guard lock(mutex_);
  CqUse& use = cqs_[cq];
  if (success) ++use.pushed;
  if (depth <= entries || use.overrun) return;
  use.overrun = true;
  const auto object = objects_.find(cq);
  report_.add({.kind = Kind::kCqOverrun,
               .text = absl::StrFormat("a CQ of %u entries got one more: a device loses it and "
                                       "moves the QPs to the error state; poll more often, or make "
                                       "the CQ as large as the queues that complete into it",
                                       entries),
               .where = {},
               .origins = {{"the CQ was created here",
                            object != objects_.end() ? object->second.made : Stack{}}}});
}

void Checker::report_never_polled(const void* cq) {
  const auto use = cqs_.find(cq);
  const auto object = objects_.find(cq);
  if (use == cqs_.end() || object == objects_.end()) return;
  if (use->second.polled || use->second.pushed == 0) return;
  report_.add({.kind = Kind::kNeverPolled,
               .text = absl::StrFormat("%u completions came to this CQ, which was never polled: "
                                       "nobody knows whether the requests failed, and their memory "
                                       "never came back to the program",
                                       use->second.pushed),
               .where = object->second.made,
               .origins = {}});
}

void Checker::cq_ended(const void* cq) {
  const std::lock_guard lock(mutex_);
  report_never_polled(cq);
  cqs_.erase(cq);
  objects_.erase(cq);
}

void Checker::qp_closing(uint32_t qp_num) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(qp_num);
  if (found != work_.queues.end()) found->second.closing = true;
}

void Checker::qp_reset(uint32_t qp_num) {
  const std::lock_guard lock(mutex_);
  work_.drop(qp_num);
  const auto found = work_.queues.find(qp_num);
  if (found != work_.queues.end()) found->second.closing = false;
}

void Checker::qp_ended(const ibv_qp& qp) {
  const Stack here = Stack::capture();
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(qp.qp_num);
  if (found != work_.queues.end()) {
    const WorkQueue& queue = found->second;
    // Of those without a completion of their own nobody knows how far they are.
    const auto open = std::ranges::find_if(
        queue.sends, [](const auto& it) { return it->signalled && !it->retired; });
    if (open != queue.sends.end() && !queue.closing) {
      report_.add({.kind = Kind::kQpInUse,
                   .text = absl::StrCat("QP ", absl::Hex(qp.qp_num), " is destroyed while ",
                                        to_string(**open),
                                        " is outstanding: it may never reach "
                                        "the peer; poll its completion first"),
                   .where = here,
                   .origins = {{"posted here", (*open)->posted}}});
    }
    work_.drop(qp.qp_num);
    work_.queues.erase(found);
  }
  objects_.erase(&qp);
}

void Checker::report_use_of(const Region& region) {
  const auto uses = [&](const Request& request) {
    return request.signalled && !request.retired &&
           std::ranges::any_of(request.pieces, [&](const Piece& piece) {
             return piece.lkey == region.lkey && piece.length > 0;
           });
  };
  const auto report = [&](const Request& request) {
    report_.add(
        {.kind = Kind::kMrInUse,
         .text = absl::StrCat(to_string(region), " is deregistered while ", to_string(request),
                              " is outstanding; poll its completion "
                              "first, or disconnect"),
         .where = region.ended,
         .origins = {{"posted here", request.posted}}});
  };
  for (const auto& [qp_num, queue] : work_.queues) {
    if (queue.closing) continue;
    for (const auto& request : queue.sends) {
      if (uses(*request)) return report(*request);
    }
  }
  for (const auto& [receive, request] : work_.receives) {
    const auto queue = work_.queues.find(request->qp_num);
    if (queue == work_.queues.end() || queue->second.closing) continue;
    if (uses(*request)) return report(*request);
  }
}

}  // namespace mrpool::checker
