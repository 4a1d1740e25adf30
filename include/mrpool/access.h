// Access flags of memory regions, windows and pools.
//
// What it is: the rights of a key, with the polarity of the Linux kernel. A set of flags allows
// PCIe relaxed ordering unless it contains Access::kDisableRelaxedOrdering. User verbs have the
// opposite polarity; from_ibv() and to_ibv() translate at that boundary.
//
// Two kinds of flag:
//   mandatory (bits 0..19)  a device refuses one it does not know, by name;
//   optional  (bits 20..29) granted where the device honours it, ignored where it does not.
// Granted reports what was granted and what was ignored; nothing is masked silently.
//
// Thread safety: values; everything here is pure.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace mrpool {

// A set of flags, made from the named flags, from verbs flags with from_ibv(), or from bits in this
// header's numbering with from_bits(). Numbers do not convert to it: bit 20 of this header and bit
// 20 of verbs have opposite meanings.
class Access {
 public:
  static const Access kNone;

  // Mandatory. Bit positions are those of ibv_access_flags.
  static const Access kLocalWrite;    // 0: the device may write it for its owner (receives, READs)
  static const Access kRemoteWrite;   // 1: a peer may RDMA WRITE it; needs kLocalWrite
  static const Access kRemoteRead;    // 2: a peer may RDMA READ it
  static const Access kRemoteAtomic;  // 3: a peer may run atomics on it; needs kLocalWrite
  static const Access kMwBind;        // 4: memory windows may be bound to it
  static const Access kZeroBased;     // 5: remote addresses count from 0
  static const Access kOnDemand;      // 6: pages are faulted in on demand instead of pinned
  static const Access kHugePages;     // 7: a promise: the memory is backed by huge pages
  static const Access kFlushGlobal;   // 8: a peer may flush it to global visibility
  static const Access kFlushPersistent;  // 9: a peer may flush it to persistence

  // Optional. Bit 20 has the opposite meaning of IBV_ACCESS_RELAXED_ORDERING, on purpose.
  static const Access kDisableRelaxedOrdering;

  constexpr Access() = default;
  // Bits as this header numbers and means them, for flags without a name here.
  static constexpr Access from_bits(uint32_t bits) {
    Access access;
    access.bits_ = bits;
    return access;
  }
  // The bits as this header numbers and means them.
  constexpr uint32_t bits() const { return bits_; }

  // By bits(); the order means nothing.
  friend constexpr auto operator<=>(Access, Access) = default;

 private:
  uint32_t bits_ = 0;
};

inline constexpr Access Access::kNone = from_bits(0);
inline constexpr Access Access::kLocalWrite = from_bits(1u << 0);
inline constexpr Access Access::kRemoteWrite = from_bits(1u << 1);
inline constexpr Access Access::kRemoteRead = from_bits(1u << 2);
inline constexpr Access Access::kRemoteAtomic = from_bits(1u << 3);
inline constexpr Access Access::kMwBind = from_bits(1u << 4);
inline constexpr Access Access::kZeroBased = from_bits(1u << 5);
inline constexpr Access Access::kOnDemand = from_bits(1u << 6);
inline constexpr Access Access::kHugePages = from_bits(1u << 7);
inline constexpr Access Access::kFlushGlobal = from_bits(1u << 8);
inline constexpr Access Access::kFlushPersistent = from_bits(1u << 9);
inline constexpr Access Access::kDisableRelaxedOrdering = from_bits(1u << 20);

inline constexpr Access kOptionalAccessRange = Access::from_bits(0x3ff00000u);  // bits 20..29
inline constexpr Access kRemoteRights = Access::from_bits(0x0eu);  // write, read, atomic

constexpr Access operator|(Access a, Access b) { return Access::from_bits(a.bits() | b.bits()); }
constexpr Access operator&(Access a, Access b) { return Access::from_bits(a.bits() & b.bits()); }
constexpr Access operator~(Access a) { return Access::from_bits(~a.bits()); }
constexpr Access& operator|=(Access& a, Access b) { return a = a | b; }
// Whether there is a flag at all.
constexpr bool any(Access a) { return a != Access::kNone; }
// Whether all of `flags` are in `set`.
constexpr bool has(Access set, Access flags) { return (set & flags) == flags; }

// The flags that a device must know, or refuse.
constexpr Access mandatory(Access a) { return a & ~kOptionalAccessRange; }
// The flags that a device may ignore.
constexpr Access optional(Access a) { return a & kOptionalAccessRange; }

// The boundary between these flags and those of libibverbs. Both sides agree on every bit but one.
// Bit 20 means "relax the ordering" in libibverbs (IBV_ACCESS_RELAXED_ORDERING) and "do not relax
// it" here, so the translation inverts it. It passes all other bits on unchanged. Flags without a
// name here, such as the proposed IBV_ACCESS_UNORDERED, thus reach the side that may know them. The
// two functions are inverse to each other.
//
// Flags for ibv_reg_mr: they ask for relaxed ordering unless `access` disables it.
constexpr uint32_t to_ibv(Access access) {
  return access.bits() ^ Access::kDisableRelaxedOrdering.bits();
}
// Flags that a program wrote for ibv_reg_mr. They keep their meaning: strict ordering unless
// IBV_ACCESS_RELAXED_ORDERING is among them.
constexpr Access from_ibv(uint32_t ibv_access_flags) {
  return Access::from_bits(ibv_access_flags ^ Access::kDisableRelaxedOrdering.bits());
}

// "local_write|remote_read|disable_relaxed_ordering"; bits without a name as "bit 21"; "none".
std::string to_string(Access access);

// Refuses the combinations that every verbs device forbids (remote write or remote atomic without
// local write) and bits outside both ranges. InvalidArgument names the flag and the fix.
[[nodiscard]] absl::Status validate(Access access);

// The flags that a device supports. `known` holds the mandatory flags that it implements,
// `honoured` the optional flags that it honours. `reports_optional` is false where a lower layer
// masks optional flags silently (libibverbs on a kernel that lacks them).
struct AccessSupport {
  Access known = Access::kNone;
  Access honoured = Access::kNone;
  bool reports_optional = true;
};

// The answer to a request for access: requested == effective | ignored | unknown, disjoint.
struct Granted {
  Access requested = Access::kNone;
  Access effective = Access::kNone;  // in force
  Access ignored = Access::kNone;    // optional flags the device does not have
  Access unknown = Access::kNone;    // optional flags that a lower layer may have masked

  friend bool operator==(const Granted&, const Granted&) = default;
};

// Decides a request by the flags that a device supports. InvalidArgument where validate() refuses
// or a mandatory flag is not in `support.known`; the message names the first such flag.
[[nodiscard]] absl::Status grant(Access requested, const AccessSupport& support, Granted& granted);

// The flags that validate() refuses: remote rights to write without kLocalWrite, and bits outside
// both ranges.
constexpr Access forbidden(Access access) {
  const Access writes = access & (Access::kRemoteWrite | Access::kRemoteAtomic);
  const Access unowned = any(access & Access::kLocalWrite) ? Access::kNone : writes;
  return unowned | (access & Access::from_bits(0xc0000000u));
}

// The flags because of which `access` exceeds `ceiling`. kDisableRelaxedOrdering is a restriction,
// not a right: where the ceiling has it and `access` does not, it is returned. kZeroBased, which
// selects how a peer numbers the bytes, is always allowed, as are other optional bits.
constexpr Access beyond_ceiling(Access access, Access ceiling) {
  const Access rights = mandatory(access) & ~mandatory(ceiling) & ~Access::kZeroBased;
  return rights | (ceiling & ~access & Access::kDisableRelaxedOrdering);
}
// True when every right in `access` is allowed by `ceiling`.
constexpr bool within_ceiling(Access access, Access ceiling) {
  return !any(beyond_ceiling(access, ceiling));
}

// The role of a local buffer in a transfer, which determines the rights that it needs. On iWARP the
// sink of a READ is a tagged buffer that the peer writes (RFC 5040 §5.1).
enum class BufferRole : uint8_t { kSource, kReadSink };

// Rights a local buffer needs in that role on a device with the given capability.
constexpr Access local_access_for(BufferRole role, bool read_sink_needs_remote_write) {
  if (role == BufferRole::kSource) return Access::kNone;
  return read_sink_needs_remote_write ? Access::kLocalWrite | Access::kRemoteWrite
                                      : Access::kLocalWrite;
}

}  // namespace mrpool
