// An initiator's command slots: the free ones, and the one whose loan waits for an MR.
//
// Commands start in order. When the pool has no MR for the first one, its slot begins the loan and
// keeps the place; the same command is tried again from the loan's done() and takes that slot.
//
// A Slot has a member `loan`, a mrpool::Loan, and a member `lent`, an Sge.
//
// Thread safety: the thread of the loans' reactor. Ownership: the slots are the caller's.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "mrpool/lender.h"

namespace mrpool::load {

template <typename Slot>
class LendingSlots {
 public:
  void add(Slot& slot) { free_.push_back(&slot); }
  // Whether take() may be called; with 2: and take_plain() too.
  bool available(size_t count = 1) const {
    return free_.size() + (lending_ != nullptr ? 1 : 0) >= count;
  }
  // The slot keeps the place of the first command that waits.
  bool keeps_place(const Slot& slot) const { return lending_ == &slot; }
  bool keeps_place() const { return lending_ != nullptr; }

  // A slot for the first command, with a key for `memory` unless its length is 0. kReady: `taken`
  // is the slot. kPending: the command waits. Else what Lender::begin() refused; nothing is taken.
  LoanStatus take(Lender& lender, const Sge& memory, Access rights, Slot*& taken) {
    if (lending_ != nullptr) {
      if (lending_->loan.state() == Loan::State::kWaiting) return LoanStatus::kPending;
      taken = std::exchange(lending_, nullptr);
      return LoanStatus::kReady;
    }
    Slot& slot = *free_.back();
    slot.lent = memory;
    const LoanStatus begun =
        memory.length == 0 ? LoanStatus::kReady : lender.begin(slot.loan, {&slot.lent, 1}, rights);
    if (begun == LoanStatus::kReady) {
      taken = &slot;
    } else if (begun == LoanStatus::kPending) {
      lending_ = &slot;
    } else {
      return begun;
    }
    free_.pop_back();
    return begun;
  }

  // A slot for a command without a key of its own, after take(). Requires available(2) before that.
  Slot& take_plain() {
    Slot& slot = *free_.back();
    free_.pop_back();
    return slot;
  }

  // Gives up the place that is kept, if any: the first command has to ask again.
  void drop(Lender& lender) {
    if (lending_ == nullptr) return;
    (void)lender.end(lending_->loan);
    add(*std::exchange(lending_, nullptr));
  }

 private:
  std::vector<Slot*> free_;
  Slot* lending_ = nullptr;
};

}  // namespace mrpool::load
