#include "examples/iser/target/range_gate.h"

namespace mrpool::scsi {

bool RangeGate::conflict(const Pass& a, const Pass& b) {
  if (!a.exclusive && !b.exclusive) return false;
  return a.lba < b.lba ? b.lba - a.lba < a.blocks : a.lba - b.lba < b.blocks;
}

bool RangeGate::blocked(const Pass& pass) const {
  // Behind those that wait as well: otherwise a stream of writes could starve a compare.
  for (const Pass* earlier = pass.prev_; earlier != nullptr; earlier = earlier->prev_) {
    if (conflict(*earlier, pass)) return true;
  }
  return false;
}

bool RangeGate::enter(Pass& pass) {
  pass.next_ = nullptr;
  pass.prev_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &pass;
  last_ = &pass;
  if (pass.exclusive) ++exclusive_;
  pass.inside_ = exclusive_ == 0 || !blocked(pass);
  if (!pass.inside_) ++waiting_;
  return pass.inside_;
}

void RangeGate::leave(Pass& pass) {
  (pass.prev_ != nullptr ? pass.prev_->next_ : first_) = pass.next_;
  (pass.next_ != nullptr ? pass.next_->prev_ : last_) = pass.prev_;
  if (pass.exclusive) --exclusive_;
  if (!pass.inside_) --waiting_;
  pass.inside_ = false;
  if (waiting_ != 0) grant();
}

void RangeGate::grant() {
  // A granted pass may leave again from inside granted(): the outermost call then looks once more.
  changed_ = true;
  if (granting_) return;
  granting_ = true;
  while (changed_) {
    changed_ = false;
    for (Pass* pass = first_; pass != nullptr; pass = pass->next_) {
      if (pass->inside_ || blocked(*pass)) continue;
      pass->inside_ = true;
      --waiting_;
      changed_ = true;
      pass->granted(*pass);
      break;  // the list may be another one now
    }
  }
  granting_ = false;
}

}  // namespace mrpool::scsi
