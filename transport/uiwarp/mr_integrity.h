// The mapping of a UiwarpFastMr with integrity, apart from its segments: the lists of data and
// tuples as they were mapped, and space for the tuples on the wire.
//
//   map ─▶ kMapped ─(kRegMr carried out: to the wire, tuples are checked and made)─▶ kOpened
//       ─(check_integrity: from the wire, the same)─▶ kNone
//
// The key's segments are the bytes on the wire: data where it lies, tuples here. So nothing that
// places or gathers bytes knows of integrity.
//
// Thread safety: as FastMr in mrpool/mr.h: one owner at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "mrpool/device.h"
#include "mrpool/integrity.h"
#include "mrpool/mr.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/segment_arena.h"

namespace mrpool::uiwarp {

class MrIntegrity {
 public:
  // Null: no address space.
  static std::unique_ptr<MrIntegrity> create(SegmentArena& arena, uint32_t data_segments,
                                             const IntegrityCapacity& capacity);
  ~MrIntegrity();
  MrIntegrity(const MrIntegrity&) = delete;
  MrIntegrity& operator=(const MrIntegrity&) = delete;

  // The most segments that the bytes on the wire take.
  static constexpr uint64_t wire_segments(uint32_t data_segments, uint32_t blocks) {
    return data_segments + uint64_t{2} * blocks;  // a block may be cut, and has a tuple
  }

  // Copies a mapping whose keys have not been looked at yet.
  PostStatus map(IntegrityFlow flow, std::span<const Sge> data, std::span<const Sge> protection,
                 const IntegrityAttributes& attributes);
  void clear() { phase_ = Phase::kNone; }
  bool mapped() const { return phase_ == Phase::kMapped; }

  const IntegrityAttributes& attributes() const { return attributes_; }
  // Where the tuple of that block is on its way to or from the wire.
  std::byte* wire_tuple(uint32_t block) const { return tuples_ + size_t{block} * kTupleBytes; }

  // Whether the mapping can be registered with `access`. `bases`: the flags of the registrations
  // that vouch for the tuples in memory are added.
  PostStatus check_register(const KeyTable& keys, Access access, Access& bases) const;
  // The rights that the registrations of the tuples in memory do not give their owner.
  Access denied(const KeyTable& keys) const;
  // Its registration is carried out. False when a base registration has ended. Inside a Quiescence
  // section, as the memory of the data is read.
  bool open(const KeyTable& keys);
  // Its transfer is over and its key dead.
  IntegrityReport finish(const KeyTable& keys);

 private:
  enum class Phase : uint8_t { kNone, kMapped, kOpened };

  MrIntegrity(SegmentArena& arena, uint32_t data_segments, const IntegrityCapacity& capacity)
      : arena_(arena), data_segments_(data_segments), capacity_(capacity) {}
  uint32_t room_segments() const;
  std::span<const Sge> data() const { return {data_, data_count_}; }
  std::span<const Sge> protection() const { return {protection_, protection_count_}; }
  std::optional<IntegrityError> convert();

  SegmentArena& arena_;
  const uint32_t data_segments_;
  const IntegrityCapacity capacity_;
  Segment* room_ = nullptr;  // of the three arrays below
  Sge* data_ = nullptr;
  Sge* protection_ = nullptr;
  std::byte* tuples_ = nullptr;
  bool touched_ = false;

  Phase phase_ = Phase::kNone;
  IntegrityFlow flow_ = IntegrityFlow::kToWire;
  uint32_t data_count_ = 0;
  uint32_t protection_count_ = 0;
  uint32_t blocks_ = 0;
  IntegrityAttributes attributes_;
  std::optional<IntegrityError> found_;  // on the way to the wire
};

}  // namespace mrpool::uiwarp
