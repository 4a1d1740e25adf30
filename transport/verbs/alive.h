// Stands around a call that may destroy the object it is made from. An object keeps a pointer, null
// at first, to the flag of the innermost Alive; its destructor sets that flag:
//
//   ~Thing() { if (gone_ != nullptr) *gone_ = true; }
//   void Thing::f() { const Alive alive(gone_); callback(); if (alive.gone()) return; ... }
//
// Thread safety: the thread of its object. Ownership: borrows the object's pointer while it is
// there.
#pragma once

namespace mrpool::verbs {

class Alive {
 public:
  explicit Alive(bool*& slot) : slot_(slot), outer_(slot) { slot_ = &gone_; }
  ~Alive() {
    if (!gone_) {
      slot_ = outer_;
    } else if (outer_ != nullptr) {
      *outer_ = true;
    }
  }
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;
  // True: nothing of the object may be touched.
  bool gone() const { return gone_; }

 private:
  bool*& slot_;
  bool* const outer_;
  bool gone_ = false;
};

}  // namespace mrpool::verbs
