// Lending memory to a peer for one I/O: what an initiator does with every command that has data.
//
// A Loan is the key of one I/O. It takes an MR from a pool and binds it to the bytes with exactly
// the rights asked. It returns the MR when the peer can no longer use the key. A Lender makes the
// loans of one Qp. The order of calls:
//
//   struct Command {
//     Command(Reactor& home) : loan(home, ...) {}
//     Loan loan;                          // embedded; used again for the next I/O
//   };
//   auto lender = Lender::create(*qp, *pool).value();        // one for each connection
//
//   switch (lender->begin(loan, {&bytes, 1}, Access::kRemoteRead)) {
//     case LoanStatus::kReady: break;     // go on
//     case LoanStatus::kPending: return;  // done(loan, kReady) runs when an MR is there
//     default: return refused();          // the device or the pool cannot do it
//   }
//   message.key = loan.remote();          // the bytes as the peer names them
//   lender->post(loan, send);             // the registration and the SEND, in one chain
//
//   // The peer's answer is here, in the receive's completion `wc`:
//   switch (lender->end(loan, wc)) {
//     case LoanStatus::kReturned: break;  // the peer ended the key: the bytes are the program's
//     case LoanStatus::kPending: return;  // it did not: done(loan, kReturned) runs when it is dead
//     default: qp->abort();               // the peer ended another key, or the Qp takes no request
//   }
//
//   // In the Qp's on_disconnected:
//   lender->stop();                       // from now on end() never waits
//   lender->end(loan);                    // each loan; a key that may be live goes to repair
//
// A coroutine has AsioLoan (mrpool/asio.h). Without an answer of the peer, `lender->end(loan)` ends
// the loan from this side, in every state:
//
//   state     what it means                       end() without an answer
//   kIdle     nothing is held                     kReturned
//   kWaiting  begin() waits for an MR             kReturned: done() does not run
//   kReady    the key is made, nothing is posted  kReturned
//   kLent     post() gave the key out             kPending; after stop() kReturned
//   kEnding   the invalidation is under way       kPending: done() runs, as it would have
//
// A caller uses the three kinds of registration (mrpool/mr.h) in the same way. With pre-registered
// keys post() adds no registration, and end() never waits.
//
// done() runs once for each kPending, from the loop, never from inside a call. Its argument is the
// outcome of the step: kReady, kReturned or kLost. From inside it the loan may begin again, end or
// be destroyed. MRs are given to the loans of one lender in the order of begin(), and to the
// waiters of a pool in the order in which they came.
//
// Thread safety: the Qp's reactor thread.
// Ownership: the pool outlives the lender, the Qp its stop() or end. A Loan may be destroyed in
// every state but kEnding, in kLent only when the Qp is disconnected; its MR then goes back,
// through repair where its key may be live. Loans that wait must end before their lender.
//
// Memory: begin, post and end allocate nothing. Send queue: Lender::kSendRequests slots for each
// loan, in addition to the caller's requests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/work.h"

namespace mrpool {

// The outcome of a step of a loan: the result of begin and end, and the argument of done().
enum class [[nodiscard]] LoanStatus : uint8_t{
    kReady,         // begin: the key is made; remote() names it, post() gives it out
    kReturned,      // end: the key is dead and the MR in the pool; the bytes are the program's
    kPending,       // done() will run
    kLost,          // done: the Qp disconnected before the key was dead. The MR is under repair and
                    // the bytes are the program's from on_disconnected on.
    kNotMapped,     // begin: the device cannot bind one key to this memory. Nothing is held.
    kAccessDenied,  // begin: beyond the pool's ceiling, or forbidden. Nothing is held.
    kWrongKey,      // end: the peer ended a key that is not this loan's. The loan is as it was.
    kNotPosted,     // end: the Qp refused the invalidation. The loan is as it was.
};
// The status's name, for people.
std::string_view to_string(LoanStatus status);

class Lender;

// Memory that is lent to a peer for a while; used again and again, for one loan at a time.
class Loan {
 public:
  // Where a loan is between begin() and end().
  enum class State : uint8_t { kIdle, kWaiting, kReady, kLent, kEnding };
  // What a loan calls when a step that was kPending is over.
  using Done = void (*)(Loan& self, LoanStatus status);

  // `home`: the reactor of the Qps it will be used with.
  Loan(Reactor& home, Done done) : done_(done), waiter_(*this, home) {}
  ~Loan();
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  // Where it is.
  State state() const { return state_; }
  // The bytes as the peer names them: from 0 where the device can (kFastReg with kZeroBased), so
  // that it learns no address of this process. Requires kReady, kLent or kEnding.
  RemoteBuffer remote() const;

 private:
  friend class Lender;
  void granted(MrPool::Lease lease);
  void invalidated(const WorkCompletion& wc);
  LoanStatus bind();
  LoanStatus give_back();
  bool registered() const { return lease_.state() == MrPool::State::kRegistered; }

  Done done_;
  State state_ = State::kIdle;
  Access rights_ = Access::kNone;
  Lender* lender_ = nullptr;  // while it waits
  std::span<const Sge> memory_;
  MrPool::Lease lease_;
  WorkRequest registration_;
  Bound<MrPool::Waiter, &Loan::granted> waiter_;
  Bound<Completion, &Loan::invalidated> invalidation_{*this};
};

// Lends memory to the peer of one Qp, with keys of one pool.
class Lender {
 public:
  // Requests that a loan may have in the send queue: its registration and its invalidation.
  static constexpr uint32_t kSendRequests = 2;

  // FailedPrecondition: `pool` is another Pd's than `qp`.
  static absl::StatusOr<std::unique_ptr<Lender>> create(Qp& qp, MrPool& pool);
  ~Lender();
  Lender(const Lender&) = delete;
  Lender& operator=(const Lender&) = delete;

  // Takes an MR and makes a key for `memory`, whose ranges carry the lkeys of their base Mrs, with
  // `rights` for the peer. Requires an idle loan. kPending: `memory`, the array, must stay until
  // done(), which reports kReady, kNotMapped or kAccessDenied. The end of the Qp does not end the
  // wait: end() does.
  LoanStatus begin(Loan& loan, std::span<const Sge> memory, Access rights);

  // Posts the registration of a loan that is ready, where the device needs one, and after it
  // `chain`, in one post. Not ok: `refused` is the first request of `chain` that was not taken;
  // end() the loan. kNotConnected after stop().
  PostResult post(Loan& loan, const WorkRequest& chain);

  // The peer has answered, with the receive `answer`: where it ended the loan's key, the loan is
  // over, otherwise as end(loan). kWrongKey where it ended another key, or the loan has given none.
  LoanStatus end(Loan& loan, const WorkCompletion& answer);
  // Ends the loan whatever its state (table above). The peer may be using the key until then.
  LoanStatus end(Loan& loan);

  // The Qp is disconnected: it is not used any more.
  void stop() { qp_ = nullptr; }
  // Null after stop().
  Qp* qp() const { return qp_; }

 private:
  friend class Loan;
  Lender(Qp& qp, MrPool& pool);
  LoanStatus invalidate(Loan& loan);

  Qp* qp_;  // null: stopped
  MrPool& pool_;
  const Access numbering_;  // of every key: kZeroBased where the device can
  uint32_t waiting_ = 0;    // loans that wait for an MR
};

// Whether a peer may be asked to end the keys of loans with its answer (SEND with invalidate). Of a
// memory window's end this side may never hear, and a pre-registered key must not end: there the
// peer is not asked, and end() does what is needed.
constexpr bool peer_may_invalidate(const DeviceCaps& caps) {
  return caps.send_with_inv && caps.registration == Registration::kFastReg;
}

}  // namespace mrpool
