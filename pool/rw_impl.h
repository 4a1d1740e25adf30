// The inside of an RwContext: operations in queues (rw.cc) whose steps are posted (rw_steps.cc).
//
// Thread safety: the Qp's reactor thread. Ownership: the context owns it until destroy().
#pragma once

#include <cstdint>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/rw.h"
#include "pool/rw_plan.h"

namespace mrpool {

// The progress of an operation, reset by each start.
struct RwProgress {
  RwOperation* next = nullptr;  // in a Queue
  uint64_t ticket = 0;          // order of arrival
  RwDirection direction = RwDirection::kRead;
  bool queued = false;   // has steps still to post
  bool started = false;  // has posted something
  bool last_posted = false;
  WcStatus status = WcStatus::kSuccess;
  uint32_t steps = 0;  // in flight
  bool under_way() const { return queued || steps > 0; }
  bool integrity_bad = false;  // integrity_error says how
  const WorkRequest* last = nullptr;
  const ProtectedBuffer* protected_local = nullptr;  // instead of the cursor's list
  Rkey rkey;
  IntegrityError integrity_error{};
  RwCursor cursor;
};

struct RwOperation::State : RwProgress {
  Sge local[kInlineSegments];  // as many as `cursor` says
};

// How an operation ends whose request was refused.
WcStatus status_of(PostStatus refusal);

class RwContext::Impl {
 public:
  Impl(Qp& qp, MrPool* pool, const RwLimits& limits, MrPool* integrity);
  ~Impl();

  PostStatus start(RwOperation& operation, RwDirection direction, std::span<const Sge> local,
                   const RemoteBuffer& remote, const WorkRequest* last);
  PostStatus start(RwOperation& operation, RwDirection direction, const SegmentIterator& local,
                   const RemoteBuffer& remote, const WorkRequest* last);
  PostStatus start(RwOperation& operation, RwDirection direction, const ProtectedBuffer& local,
                   const RemoteBuffer& remote);
  bool cancel(RwOperation& operation);
  void stop();
  uint32_t in_flight() const { return in_flight_; }
  uint32_t waiting() const { return waiting_; }
  Qp& qp() const { return qp_; }
  // The context is destroyed: it deletes itself now, or where its call that runs done() ends.
  void destroy();

 private:
  // A call into this object that may run done(), in which the context may be destroyed.
  class Call {
   public:
    explicit Call(Impl& impl) : impl_(impl) { ++impl_.calls_; }
    ~Call() {
      if (--impl_.calls_ == 0 && impl_.destroyed_) delete &impl_;
    }

   private:
    Impl& impl_;
  };

  using State = RwOperation::State;

  // First in, first out, through State::next.
  struct Queue {
    RwOperation* first = nullptr;
    RwOperation* last = nullptr;
    void push(RwOperation& operation);
    void remove(RwOperation& operation);
  };

  struct Step : Completion {
    Step() : Completion(to_method<&Step::completed>) {}
    void completed(const WorkCompletion& wc) { context->step_completed(*this, wc); }
    Impl* context = nullptr;
    RwOperation* operation = nullptr;
    Step* next = nullptr;  // in free_steps_ or in unended_
    MrPool::Lease lease;
    uint32_t slots = 0;
    bool holds_credit = false;
    WcStatus failed = WcStatus::kSuccess;  // first failure of its requests
  };

  // Where the MRs of operations come from, one at a time to wait for.
  struct MrSource {
    MrSource(Impl& context_in, MrPool* pool_in, Reactor& reactor)
        : context(context_in), pool(pool_in), waiter(*this, reactor) {}
    void ready(MrPool::Lease lease) { context.mr_ready(*this, std::move(lease)); }
    Impl& context;
    MrPool* const pool;
    Bound<MrPool::Waiter, &MrSource::ready> waiter;
    bool waits = false;
    MrPool::Lease granted;  // from the waiter, for the step that asked
  };

  struct Posted {
    enum Verdict : uint8_t { kStep, kWaitForCredit, kWait, kRefused } verdict;
    PostStatus refusal = PostStatus::kOk;
  };

  static State& state(RwOperation& operation) {
    return *std::launder(reinterpret_cast<State*>(operation.storage_));
  }
  static const State& state(const RwOperation& operation) {
    return *std::launder(reinterpret_cast<const State*>(operation.storage_));
  }
  const RwShape& shape(const RwProgress& op) const {
    return (op.protected_local != nullptr ? integrity_shapes_ : shapes_)[size_t(op.direction)];
  }
  MrSource& source(const RwProgress& op) {
    return op.protected_local != nullptr ? integrity_mrs_ : mrs_;
  }
  Queue& queue(RwDirection direction) { return queues_[size_t(direction)]; }
  PostStatus refuse(const RwOperation& operation, RwDirection direction, uint64_t length,
                    const WorkRequest* last) const;
  PostStatus begin(RwOperation& operation, RwDirection direction, const SegmentIterator& local,
                   const RemoteBuffer& remote, const WorkRequest* last,
                   const ProtectedBuffer* protected_local = nullptr);
  bool may_begin(RwDirection direction) const;

  void pump();
  Posted post_step(RwOperation& operation);
  PostStatus map_and_register(Step& step, const State& op, Sge& sink, WorkRequest& reg);
  bool lease_mr(Step& step, MrSource& source);
  Posted half_posted(Step& step, RwOperation& operation, PostStatus refusal);
  Posted wait_for_room();
  void look_for_room();
  void launch(Step& step, RwOperation& operation);
  bool post_invalidation(Step& step);
  void end_step(Step& step);
  void finish_step(Step& step);
  void fail(RwOperation& operation, WcStatus status);
  void leave_queue(RwOperation& operation);
  void settle(RwOperation& operation);
  void step_completed(Step& step, const WorkCompletion& wc);
  void check_integrity(Step& step);
  void mr_ready(MrSource& source, MrPool::Lease lease);

  Qp& qp_;
  const RwLimits limits_;
  const RwShape shapes_[2];            // by RwDirection
  const RwShape integrity_shapes_[2];  // of protected operations
  std::vector<Step> steps_;
  std::vector<Sge> scratch_;
  Step* free_steps_ = nullptr;
  const uint32_t max_send_wr_;  // of the Qp
  Step* unended_ = nullptr;     // their kLocalInv waits for room in the send queue
  uint32_t slots_;              // of the send queue, for this context: left of them
  uint32_t reads_ = 0;          // READ credits in use
  uint32_t in_flight_ = 0;
  uint32_t waiting_ = 0;
  uint64_t tickets_ = 0;
  Queue queues_[2];  // by RwDirection: operations with steps still to post
  MrSource mrs_;
  MrSource integrity_mrs_;
  Bound<Timer, &Impl::look_for_room> room_timer_{*this};
  bool pumping_ = false;
  bool stopped_ = false;
  uint32_t calls_ = 0;
  bool destroyed_ = false;
};

}  // namespace mrpool
