// Checker: what the program posts.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/checker/checker.h"

namespace mrpool::checker {
namespace {

// Requests of one QP that are remembered although no completion covers them.
constexpr size_t kMaxRemembered = 1 << 16;

}  // namespace

void Checker::qp_made(const ibv_qp& qp) {
  const Stack here = Stack::capture();
  const std::lock_guard lock(mutex_);
  objects_[&qp] = {"QP", here};
  work_.queues[qp.qp_num].made = here;
}

std::unique_ptr<Request> Checker::make_request(const PostedWork& work) {
  auto request = std::make_unique<Request>();
  request->operation = work.operation;
  request->wr_id = work.wr_id;
  request->qp_num = work.qp_num;
  request->signalled = work.signalled;
  request->posted = Stack::capture();
  for (size_t i = 0; i < std::min(work.sges.size(), work.memory.size()); ++i) {
    request->pieces.push_back({.start = reinterpret_cast<uintptr_t>(work.memory[i].addr),
                               .length = work.memory[i].length,
                               .lkey = work.sges[i].lkey});
  }
  check_keys(*request);
  request->copy.take(request->pieces);
  check_overlap(*request);
  work_.spans.add(*request);
  return request;
}

void Checker::check_keys(const Request& request) {
  for (const Piece& piece : request.pieces) {
    if (piece.length == 0) continue;
    const Region* const region = regions_.find_local(piece.lkey);
    const Region* const known = region != nullptr ? region : regions_.find_ended(piece.lkey);
    const char* fault = nullptr;
    if (known == nullptr) {
      fault = "which no region has";
    } else if (region == nullptr) {
      fault =
          "which was deregistered before; the region has to live until the completion is polled";
    } else if (piece.start < region->start || piece.start + piece.length > region->end()) {
      fault = "which does not cover these bytes";
    } else if (is_target(request.operation) && (region->access & IBV_ACCESS_LOCAL_WRITE) == 0) {
      fault = "which was registered without IBV_ACCESS_LOCAL_WRITE";
    }
    if (fault == nullptr) continue;
    std::vector<Origin> origins;
    if (known != nullptr) origins.push_back({"registered here", known->made});
    if (known != nullptr && region == nullptr)
      origins.push_back({"deregistered here", known->ended});
    report_.add(
        {.kind = Kind::kBadKey,
         .text = absl::StrFormat("%s names %u bytes at 0x%x with lkey 0x%x, %s", to_string(request),
                                 piece.length, piece.start, piece.lkey, fault),
         .where = request.posted,
         .origins = std::move(origins)});
  }
}

void Checker::check_overlap(Request& request) {
  const std::vector<Request*> others = work_.spans.overlapping(request.pieces, &request);
  const Request* reported = nullptr;
  for (Request* other : others) {
    if (is_target(request.operation)) other->copy.drop();
    if (is_target(other->operation)) request.copy.drop();
    const bool both = is_target(request.operation) && is_target(other->operation);
    if (!both || other->retired || reported != nullptr) continue;
    reported = other;
    report_.add(
        {.kind = Kind::kOverlap,
         .text = absl::StrCat(to_string(request), " is posted into bytes of ", to_string(*other),
                              ", which is outstanding: the bytes are "
                              "undefined until both have completed"),
         .where = request.posted,
         .origins = {{"the other one was posted here", other->posted}}});
  }
  // Bytes that peers write may be on their way still.
  for (const Piece& piece : request.pieces) {
    const Region* const region = regions_.find_local(piece.lkey);
    if (region != nullptr && region->written) request.copy.drop();
  }
}

void Checker::send_refused(uint32_t qp_num) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(qp_num);
  if (found == work_.queues.end() || found->second.full_reported) return;
  WorkQueue& queue = found->second;
  const auto signalled = [](const auto& each) { return each->signalled; };
  if (queue.sends.empty() || std::ranges::any_of(queue.sends, signalled)) return;
  queue.full_reported = true;
  report_.add({.kind = Kind::kSendQueueFull,
               .text = absl::StrFormat("a request is posted to the send queue of QP 0x%x, which is "
                                       "full of %u requests without IBV_SEND_SIGNALED: only a "
                                       "polled completion frees them, and none of them gives one",
                                       qp_num, queue.sends.size()),
               .where = Stack::capture(),
               .origins = {{"the QP was created here", queue.made}}});
}

// Programs that give all requests the same wr_id do not use it to distinguish them.
void Checker::check_wr_id(WorkQueue& queue, const Request& request) {
  if (queue.sends.empty() && !queue.varies) queue.first_wr_id = request.wr_id;
  queue.varies |= request.wr_id != queue.first_wr_id;
  if (!queue.varies || !request.signalled) return;
  const auto same = std::ranges::find_if(queue.sends, [&](const auto& each) {
    return each->signalled && each->wr_id == request.wr_id;
  });
  if (same == queue.sends.end()) return;
  report_.add({.kind = Kind::kWrIdReused,
               .text = absl::StrCat(to_string(request), " has the wr_id of ", to_string(**same),
                                    ", whose completion was not polled yet: the two "
                                    "completions cannot be distinguished"),
               .where = request.posted,
               .origins = {{"the other one was posted here", (*same)->posted}}});
}

void Checker::posted_send(const PostedWork& work) {
  const std::lock_guard lock(mutex_);
  const auto found = work_.queues.find(work.qp_num);
  if (found == work_.queues.end()) return;
  WorkQueue& queue = found->second;
  auto request = make_request(work);
  check_wr_id(queue, *request);
  queue.sends.push_back(std::move(request));
  if (queue.sends.size() > kMaxRemembered && queue.sends.front()->retired) {
    work_.spans.remove(*queue.sends.front());
    queue.sends.pop_front();
  }
}

void Checker::posted_receive(const PostedWork& work, const void* receive) {
  const std::lock_guard lock(mutex_);
  auto& slot = work_.receives[receive];
  if (slot != nullptr) work_.spans.remove(*slot);
  slot = make_request(work);
}

}  // namespace mrpool::checker
