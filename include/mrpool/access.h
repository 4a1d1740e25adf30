// Access flags of memory regions, windows and pools.
//
// What it is: the rights a key carries, with the polarity of the Linux kernel. PCIe relaxed
// ordering is part of every set of flags unless Access::kDisableRelaxedOrdering takes it away; user
// verbs have it the other way round and transport/verbs/access_flags.h translates at that boundary.
//
// Two kinds of flag:
//   mandatory (bits 0..19)  a device refuses one it does not know, by name;
//   optional  (bits 20..29) granted where the device honours it, ignored where it does not.
// Granted says which of the two happened; nothing is masked silently.
//
// Thread safety: values; everything here is pure.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace mrpool {

enum class Access : uint32_t {
  kNone = 0,

  // Mandatory. Bit positions are those of ibv_access_flags.
  kLocalWrite = 1u << 0,    // the device may write the memory for its owner (receives, READ data)
  kRemoteWrite = 1u << 1,   // a peer may RDMA WRITE it; needs kLocalWrite
  kRemoteRead = 1u << 2,    // a peer may RDMA READ it
  kRemoteAtomic = 1u << 3,  // a peer may run atomics on it; needs kLocalWrite
  kMwBind = 1u << 4,        // memory windows may be bound to it
  kZeroBased = 1u << 5,     // remote addresses count from 0 instead of the virtual address
  kOnDemand = 1u << 6,      // pages are faulted in on demand instead of pinned
  kHugePages = 1u << 7,     // the memory is backed by huge pages

  // Optional. Bit 20 has the opposite meaning of IBV_ACCESS_RELAXED_ORDERING, on purpose.
  kDisableRelaxedOrdering = 1u << 20,
};

inline constexpr Access kOptionalAccessRange{0x3ff00000u};  // bits 20..29
inline constexpr Access kRemoteRights{0x0eu};               // write, read, atomic

constexpr Access operator|(Access a, Access b) { return Access(uint32_t(a) | uint32_t(b)); }
constexpr Access operator&(Access a, Access b) { return Access(uint32_t(a) & uint32_t(b)); }
constexpr Access operator~(Access a) { return Access(~uint32_t(a)); }
constexpr Access& operator|=(Access& a, Access b) { return a = a | b; }
constexpr bool any(Access a) { return a != Access::kNone; }
constexpr bool has(Access set, Access flags) { return (set & flags) == flags; }

constexpr Access mandatory(Access a) { return a & ~kOptionalAccessRange; }
constexpr Access optional(Access a) { return a & kOptionalAccessRange; }

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

// True when every right in `access` is allowed by `ceiling`. kDisableRelaxedOrdering is no right
// but a restriction: a ceiling that carries it needs it in `access` too; other optional bits are
// free.
constexpr bool within_ceiling(Access access, Access ceiling) {
  const bool rights = !any(mandatory(access) & ~mandatory(ceiling));
  const bool strict = !any(ceiling & Access::kDisableRelaxedOrdering) ||
                      any(access & Access::kDisableRelaxedOrdering);
  return rights && strict;
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
