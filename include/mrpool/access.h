// Access flags of memory regions, windows and pools.
//
// What it is: the rights a key carries, with the polarity of the Linux kernel. PCIe relaxed
// ordering is part of every set of flags unless Access::kDisableRelaxedOrdering takes it away; user
// verbs have it the other way round: from_ibv() and to_ibv() translate at that boundary.
//
// Two kinds of flag:
//   mandatory (bits 0..19)  a device refuses one it does not know, by name;
//   optional  (bits 20..29) granted where the device honours it, ignored where it does not.
// Granted says which of the two happened; nothing is masked silently.
//
// Thread safety: values; everything here is pure.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace mrpool {

// A set of flags. It is made from its named flags, from verbs flags with from_ibv(), or from bits
// of this header's numbering with from_bits(); no number converts to it, since bit 20 of this
// header and of verbs have opposite meanings.
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

// The boundary between these flags and libibverbs'. Both sides agree on every bit but one: bit 20
// says "relax the ordering" to libibverbs (IBV_ACCESS_RELAXED_ORDERING) and "do not relax it" here,
// so it changes its value on the way. The rest is carried as it is: flags without a name here, such
// as the proposed IBV_ACCESS_UNORDERED, reach the side that may know them. The two are inverse to
// each other.
//
// Flags for ibv_reg_mr: relaxed ordering is asked for unless `access` disables it.
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

// The combinations every verbs device forbids (remote write or remote atomic without local write)
// and bits outside both ranges, refused before a device sees them. InvalidArgument names the flag
// and the mend.
[[nodiscard]] absl::Status validate(Access access);

// What a device knows of flags. `known` holds the mandatory flags it implements, `honoured` the
// optional ones it acts on. `reports_optional` is false where the stack below masks optional flags
// without saying so (libibverbs on a kernel that lacks them).
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
  Access unknown = Access::kNone;    // optional flags nobody can tell about

  friend bool operator==(const Granted&, const Granted&) = default;
};

// Decides a request against what a device knows. InvalidArgument where validate() refuses or a
// mandatory flag is not in `support.known`; the message names the first such flag.
[[nodiscard]] absl::Status grant(Access requested, const AccessSupport& support, Granted& granted);

// The combinations that no device takes: remote rights to write without kLocalWrite, and bits
// outside both ranges. What validate() refuses, as flags.
constexpr Access forbidden(Access access) {
  const Access writes = access & (Access::kRemoteWrite | Access::kRemoteAtomic);
  const Access unowned = any(access & Access::kLocalWrite) ? Access::kNone : writes;
  return unowned | (access & Access::from_bits(0xc0000000u));
}

// What of `access` a ceiling does not allow. kDisableRelaxedOrdering is no right but a restriction:
// a ceiling that carries it needs it in `access` too, and it is returned where it is missing there.
// kZeroBased, which says how a peer counts, is no right either; it and other optional bits are
// free.
constexpr Access beyond_ceiling(Access access, Access ceiling) {
  const Access rights = mandatory(access) & ~mandatory(ceiling) & ~Access::kZeroBased;
  return rights | (ceiling & ~access & Access::kDisableRelaxedOrdering);
}
// True when every right in `access` is allowed by `ceiling`.
constexpr bool within_ceiling(Access access, Access ceiling) {
  return !any(beyond_ceiling(access, ceiling));
}

// Which part a local buffer plays in a transfer; it decides the rights, not the caller's memory of
// the RFC: on iWARP a READ's sink is a tagged buffer that the peer writes (RFC 5040 §5.1).
enum class BufferRole : uint8_t { kSource, kReadSink };

// Rights a local buffer needs in that role on a device with the given capability.
constexpr Access local_access_for(BufferRole role, bool read_sink_needs_remote_write) {
  if (role == BufferRole::kSource) return Access::kNone;
  return read_sink_needs_remote_write ? Access::kLocalWrite | Access::kRemoteWrite
                                      : Access::kLocalWrite;
}

}  // namespace mrpool
