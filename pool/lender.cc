// Lender: the steps of a loan, and how each of its states ends.
//
// kWaiting -> kReady -> kLent -> kEnding -> kIdle. A step that can be done at once skips the state
// that waits for it.
#include "mrpool/lender.h"

#include <utility>

#include "absl/status/status.h"
#include "mrpool/internal/report.h"
#include "pool/lease_probes.h"

namespace mrpool {

std::string_view to_string(LoanStatus status) {
  switch (status) {
    case LoanStatus::kReady:
      return "the key is ready";
    case LoanStatus::kReturned:
      return "the key has ended";
    case LoanStatus::kPending:
      return "under way";
    case LoanStatus::kLost:
      return "the connection ended before the key";
    case LoanStatus::kNotMapped:
      return "the device cannot bind one key to this memory";
    case LoanStatus::kAccessDenied:
      return "the pool refuses these rights";
    case LoanStatus::kWrongKey:
      return "the peer ended a key that it was not lent";
    case LoanStatus::kNotPosted:
      return "the queue pair refused an invalidation";
  }
  return "unknown";
}

// ------------------------------------------------------------------------------- Loan

Loan::~Loan() {
  if (state_ == State::kIdle) return;
  if (state_ == State::kEnding) {
    internal::misuse("~Loan", "Loan", this, "was destroyed while its key is being invalidated");
  }
  if (state_ == State::kWaiting) (void)lender_->end(*this);
  if (state_ == State::kReady && registered()) lease_.not_posted();
}

RemoteBuffer Loan::remote() const {
  const FastMr& mr = lease_.mr();
  // The registration, which makes it so, need not be posted yet.
  const bool zero_based = registered() && any(rights_ & Access::kZeroBased);
  return {zero_based ? RemoteAddr{0} : mr.remote_addr(), mr.length(), mr.rkey()};
}

// The lease is here: makes the key.
LoanStatus Loan::bind() {
  trace_get(lease_);
  LoanStatus refused = LoanStatus::kNotMapped;
  if (lease_.map(memory_) == memory_.size()) {
    if (lease_.prepare_register(rights_, registration_) == PostStatus::kOk) {
      state_ = State::kReady;
      return LoanStatus::kReady;
    }
    refused = LoanStatus::kAccessDenied;
  }
  (void)give_back();
  return refused;
}

LoanStatus Loan::give_back() {
  end_traced(lease_);  // to repair where the key may be live
  state_ = State::kIdle;
  return LoanStatus::kReturned;
}

void Loan::granted(MrPool::Lease lease) {
  --lender_->waiting_;
  lease_ = std::move(lease);
  done_(*this, bind());  // may destroy it
}

void Loan::invalidated(const WorkCompletion& wc) {
  const bool dead = wc.status == WcStatus::kSuccess;
  if (dead) lease_.invalidated();
  (void)give_back();
  done_(*this, dead ? LoanStatus::kReturned : LoanStatus::kLost);  // may destroy it
}

// ------------------------------------------------------------------------------- Lender

namespace {

// The flag for addresses that count from 0, where the device has it: the peer then learns no
// address of this process.
Access numbering_of(const DeviceCaps& caps) {
  const bool zero_based =
      caps.registration == Registration::kFastReg && any(caps.access.known & Access::kZeroBased);
  return zero_based ? Access::kZeroBased : Access::kNone;
}

}  // namespace

Lender::Lender(Qp& qp, MrPool& pool)
    : qp_(&qp), pool_(pool), numbering_(numbering_of(pool.pd().caps())) {}

absl::StatusOr<std::unique_ptr<Lender>> Lender::create(Qp& qp, MrPool& pool) {
  if (&pool.pd() != &qp.pd()) {
    return absl::FailedPreconditionError("the pool belongs to another Pd than the Qp");
  }
  return std::unique_ptr<Lender>(new Lender(qp, pool));
}

Lender::~Lender() {
  if (waiting_ != 0) internal::fatal("a Lender was destroyed while loans wait for MRs");
}

LoanStatus Lender::begin(Loan& loan, std::span<const Sge> memory, Access rights) {
  if (loan.state_ != Loan::State::kIdle) {
    internal::misuse("Lender::begin", "Loan", &loan, "is under way");
  }
  loan.memory_ = memory;
  loan.rights_ = rights | numbering_;
  // Those that wait come first.
  if (waiting_ == 0) loan.lease_ = pool_.get();
  if (loan.lease_) return loan.bind();
  loan.lender_ = this;
  loan.state_ = Loan::State::kWaiting;
  ++waiting_;
  pool_.get(loan.waiter_);
  return LoanStatus::kPending;
}

PostResult Lender::post(Loan& loan, const WorkRequest& chain) {
  if (loan.state_ != Loan::State::kReady) {
    internal::misuse("Lender::post", "Loan", &loan, "is without a key: begin() it first");
  }
  if (qp_ == nullptr) return {PostStatus::kNotConnected, &chain};
  loan.state_ = Loan::State::kLent;
  if (!loan.registered()) return qp_->post_send(chain);
  WorkRequest& registration = loan.registration_;
  registration.next = const_cast<WorkRequest*>(&chain);  // read only, as a request of a chain
  PostResult result = qp_->post_send(registration);
  if (result.refused == &registration) {
    loan.state_ = Loan::State::kReady;  // nothing was taken
    result.refused = &chain;
  }
  return result;
}

LoanStatus Lender::end(Loan& loan, const WorkCompletion& answer) {
  if (!answer.invalidated) return end(loan);
  if (loan.state_ != Loan::State::kLent || !loan.registered() ||
      answer.invalidated_rkey != loan.lease_.mr().rkey()) {
    return LoanStatus::kWrongKey;
  }
  loan.lease_.invalidated();
  return loan.give_back();
}

LoanStatus Lender::end(Loan& loan) {
  switch (loan.state_) {
    case Loan::State::kIdle:
      return LoanStatus::kReturned;
    case Loan::State::kWaiting:
      pool_.cancel(loan.waiter_);
      --waiting_;
      return loan.give_back();
    case Loan::State::kReady:
      if (loan.registered()) loan.lease_.not_posted();
      return loan.give_back();
    case Loan::State::kLent:
      if (loan.registered() && qp_ != nullptr) return invalidate(loan);
      return loan.give_back();
    case Loan::State::kEnding:
      break;
  }
  return LoanStatus::kPending;
}

LoanStatus Lender::invalidate(Loan& loan) {
  WorkRequest request;
  loan.lease_.prepare_invalidate(request);
  request.completion = &loan.invalidation_;
  if (!qp_->post_send(request).ok()) return LoanStatus::kNotPosted;
  loan.state_ = Loan::State::kEnding;
  return LoanStatus::kPending;
}

}  // namespace mrpool
