// FastMr of uiwarp: a slot of the key table whose memory a kRegMr on a Qp sets.
//
// map() fills the staged mapping. A kRegMr checks it when it is posted (check_register). When its
// turn in the send queue comes, open() makes the mapping current, and the key is live on that Qp
// only. invalidate() ends it.
//
// Memory: kInlineSegments of each mapping lie here; longer ones touch room in the SegmentArena.
//
// Thread safety: as FastMr in mrpool/mr.h: one owner at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "mrpool/device.h"
#include "mrpool/mr.h"
#include "transport/counters/pd_counters.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/mr_integrity.h"
#include "transport/uiwarp/segment_arena.h"

namespace mrpool::uiwarp {

class UiwarpFastMr final : public FastMr {
 public:
  // `home`: the Pd with that id.
  static absl::StatusOr<std::unique_ptr<UiwarpFastMr>> create(KeyTable& keys, SegmentArena& arena,
                                                              const Pd& home, uint64_t pd,
                                                              const DeviceCaps& caps,
                                                              const FastMrOptions& options);
  ~UiwarpFastMr() override;

  size_t map(std::span<const Sge> segments) override;
  PostStatus map_integrity(IntegrityFlow flow, std::span<const Sge> data,
                           std::span<const Sge> protection,
                           const IntegrityAttributes& attributes) override;
  IntegrityReport check_integrity() override;
  void advance_key() override;
  bool needs_registration() const override { return true; }
  Sge sge() const override;
  absl::Status renew() override;

  // For memory windows of user verbs, whose owner chooses the low 8 bits of the key; between an
  // invalidation and the next registration, as advance_key().
  void set_key_part(uint8_t part);
  // Every Qp of the Pd may use its key from the next registration on, as of a window of type 1. All
  // of them must be of one reactor.
  void open_to_pd() { of_pd_ = true; }
  bool pending() const { return pending_; }

  // It counts in its Pd from now on.
  void count_in(PdCounters& counters) { counted_.emplace(counters); }

  // For the Qp.
  //   kBadKey        nothing is mapped, the MR is of another Pd, or it is live or about to be
  //   kAccessDenied  flags that the device refuses, beyond the ceiling, or beyond what the base
  //                  registrations allow their owner
  //   kBadIntegrity  a mapping with integrity for the other direction
  // On kOk the registration is pending until open() or drop().
  PostStatus check_register(Access access, const KeyUser& user);
  // The flags because of which it is kAccessDenied.
  Access denied(Access access) const;
  // Carries the pending registration out. False when a base registration has ended meanwhile.
  bool open();
  void drop();  // the pending registration will not happen
  bool live() const { return slot_->live.load(std::memory_order_relaxed) != 0; }
  void invalidate() { KeyTable::close(*slot_); }
  // Whether the pending registration will cover an Sge that was posted after it.
  bool pending_covers(const Sge& sge, Access rights, const KeyUser& user) const;
  bool pending_on(const KeyUser& user, uint32_t stag) const {
    return pending_ && pending_qp_ == user.qp && lkey_.value == stag;
  }

 private:
  static constexpr uint32_t kInlineSegments = 4;

  struct Mapping {
    Segment* few = nullptr;       // room for kInlineSegments
    Segment* many = nullptr;      // room for all; null where `few` is
    bool touched = false;         // `many` was written
    Segment* segments = nullptr;  // one of the two
    uint32_t count = 0;
    uint64_t length = 0;
    uint64_t base = 0;
  };

  UiwarpFastMr(KeyTable& keys, SegmentArena& arena, KeySlot* slot, uint32_t stag, uint64_t pd,
               const DeviceCaps& caps, const FastMrOptions& options);

  uint32_t room() const;
  bool reserve(Mapping& mapping);
  void clear_staged();
  void stage(const Segment& segment);
  bool extend(std::byte* memory, uint64_t length, uint32_t base_stag);
  void append(std::byte* memory, uint64_t length, const KeyRange& base);
  void stage_wire(const Sge& data, const KeyRange& base, uint32_t& block, uint32_t& left);
  KeyError resolve(const Sge& sge, KeyRange& range) const;
  void staged_all();

  KeyTable& keys_;
  SegmentArena& arena_;
  KeySlot* const slot_;
  const uint64_t pd_id_;
  const DeviceCaps& caps_;
  const FastMrOptions options_;
  std::optional<CountedFastMr> counted_;
  std::unique_ptr<MrIntegrity> integrity_;  // null where the MR has none
  Segment few_[2][kInlineSegments];
  Mapping staged_{.few = few_[0], .segments = few_[0]};
  Mapping live_{.few = few_[1], .segments = few_[1]};
  bool of_pd_ = false;
  bool pending_ = false;
  uint64_t pending_qp_ = 0;
  Access pending_access_ = Access::kNone;
};

}  // namespace mrpool::uiwarp
