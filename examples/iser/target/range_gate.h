// Keeps COMPARE AND WRITE atomic (SBC-3 §5.3): while one runs, no other write to its blocks does,
// and it starts only when writes to them that came earlier have finished.
//
// Writes that overlap no COMPARE AND WRITE never wait, and without one in play entering costs a
// link in a list.
//
// Thread safety: one thread. Ownership: a Pass is the caller's and stays until leave().
#pragma once

#include <cstdint>

namespace mrpool::scsi {

class RangeGate {
 public:
  struct Pass {
    using Granted = void (*)(Pass& self);
    explicit constexpr Pass(Granted granted_fn) : granted(granted_fn) {}
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

    Granted granted;
    uint64_t lba = 0;
    uint64_t blocks = 0;
    bool exclusive = false;

   private:
    friend class RangeGate;
    bool inside_ = false;
    Pass* next_ = nullptr;
    Pass* prev_ = nullptr;
  };

  // True: inside at once. False: granted() follows, from inside somebody's leave().
  [[nodiscard]] bool enter(Pass& pass);
  void leave(Pass& pass);
  bool empty() const { return first_ == nullptr; }

 private:
  static bool conflict(const Pass& a, const Pass& b);
  bool blocked(const Pass& pass) const;
  void grant();

  // All that are inside or wait, in the order they came.
  Pass* first_ = nullptr;
  Pass* last_ = nullptr;
  uint32_t exclusive_ = 0;
  uint32_t waiting_ = 0;
  bool granting_ = false;
  bool changed_ = false;
};

}  // namespace mrpool::scsi
