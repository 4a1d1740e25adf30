// Where an MrPool that has no MR free gets more from (mrpool/keyed_pools.h).
//
// Thread safety: supply() comes from any thread that gets, with no lock of the pool held.
#pragma once

namespace mrpool {

class MrPool;

namespace internal {

class MrSupplier {
 public:
  // Adds MRs to the pool. False: there are none to be had.
  virtual bool supply(MrPool& pool) = 0;

 protected:
  ~MrSupplier() = default;
};

}  // namespace internal
}  // namespace mrpool
