// FastMr of uiwarp: a slot of the key table whose memory a kRegMr on a Qp sets.
//
// map() fills the staged mapping; kRegMr checks it when it is posted (check_register), swaps it
// into place when its turn in the send queue comes (open) and the key is live from then on, on that
// Qp only. invalidate() ends it.
//
// Thread safety: as mrpool/mr.h says of FastMr: one owner at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "mrpool/device.h"
#include "mrpool/mr.h"
#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class UiwarpFastMr final : public FastMr {
 public:
  static absl::StatusOr<std::unique_ptr<UiwarpFastMr>> create(KeyTable& keys, uint64_t pd,
                                                              const DeviceCaps& caps,
                                                              const FastMrOptions& options);
  ~UiwarpFastMr() override;

  size_t map(std::span<const Sge> segments) override;
  void advance_key() override;
  bool needs_registration() const override { return true; }
  Sge sge() const override;
  absl::Status renew() override;

  // For the Qp. kBadKey: nothing mapped, of another Pd, or already live or on its way to be;
  // kAccessDenied: flags the device refuses, or beyond the ceiling, or beyond what the base
  // registrations allow their owner. On kOk the registration is pending until open() or drop().
  PostStatus check_register(Access access, const KeyUser& user);
  // Carries the pending registration out. False when a base registration has ended meanwhile.
  bool open();
  void drop();  // the pending registration will not happen
  bool live() const { return slot_->live.load(std::memory_order_relaxed) != 0; }
  void invalidate() { KeyTable::close(*slot_); }
  // An Sge posted behind the pending registration: whether that will cover it.
  bool pending_covers(const Sge& sge, Access rights, const KeyUser& user) const;
  bool pending_on(const KeyUser& user, uint32_t stag) const {
    return pending_ && pending_qp_ == user.qp && lkey_.value == stag;
  }

 private:
  struct Mapping {
    std::unique_ptr<Segment[]> segments;
    uint32_t count = 0;
    uint64_t length = 0;
    uint64_t base = 0;
  };

  UiwarpFastMr(KeyTable& keys, KeySlot* slot, uint32_t stag, uint64_t pd, const DeviceCaps& caps,
               const FastMrOptions& options);

  KeyTable& keys_;
  KeySlot* const slot_;
  const uint64_t pd_;
  const DeviceCaps& caps_;
  const FastMrOptions options_;
  Mapping staged_;
  Mapping live_;
  bool pending_ = false;
  uint64_t pending_qp_ = 0;
  Access pending_access_ = Access::kNone;
};

}  // namespace mrpool::uiwarp
