// Who hears what the ordering sanitizer withholds, and which completions order it: a checker that
// guards the bytes until the program has polled such a completion. Nobody listens unless observe()
// was called. While somebody does, the sanitizer lets later data of a Qp win over earlier.
//
// Thread safety: observe() before there is a Qp; the calls come from the Qps' reactors.
// Ownership: the observer outlives all devices.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrpool {
class Qp;
}  // namespace mrpool

namespace mrpool::uiwarp {

struct OrderPoint;

struct Held {
  std::byte* to = nullptr;
  size_t bytes = 0;
  uint32_t key = 0;
  bool read_response = false;  // of a READ or an atomic
  bool receive = false;        // of a SEND; neither: of a WRITE
  uint64_t stamp = 0;          // of its last byte
};

class HoldObserver {
 public:
  virtual void held(const Qp* qp, const Held& held) = 0;
  // Held bytes become visible. False: not copied.
  virtual bool place(std::byte* to, const std::byte* from, size_t bytes) = 0;
  // Data for that key counts as that of READs from now on.
  virtual void invalidated(const Qp* qp, uint32_t key) = 0;
  // The next completion orders the data of `point`.
  virtual void reached(const Qp* qp, const OrderPoint& point) = 0;
  // Everything of that Qp is visible, and nothing is held any more.
  virtual void ended(const Qp* qp) = 0;

  // Before there is a Qp.
  static void observe(HoldObserver* observer) { current_ = observer; }
  // Null: nobody listens.
  static HoldObserver* get() { return current_; }

 protected:
  ~HoldObserver() = default;

 private:
  static inline HoldObserver* current_ = nullptr;
};

}  // namespace mrpool::uiwarp
