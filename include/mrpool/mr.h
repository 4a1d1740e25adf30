// Registered memory: Mr, a key for memory that stays registered, and FastMr, a key whose memory
// changes with every I/O.
//
// An Mr is the base of local work: staging buffers and namespaces are registered once, with local
// rights, and their lkey goes into Sges. A FastMr is what a pool holds: it is allocated once and
// bound to the bytes of one I/O by a work request (or, on devices that cannot, names the base
// registration). Programs take FastMrs from an MrPool, they do not handle them directly.
//
// Ownership: both are owned by the caller and must be destroyed before their Pd. The memory is the
// caller's and must outlive the registration.
// Thread safety: an Mr may be used and destroyed from any thread; its destruction returns once no
// byte can be placed through it any more. A FastMr belongs to the lease that holds it, and from
// kRegMr to its invalidation to the reactor of the Qp it was registered on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mrpool/access.h"
#include "mrpool/integrity.h"
#include "mrpool/types.h"
#include "mrpool/work.h"

namespace mrpool {

class Pd;

// A registered region: the base registration of memory.
class Mr {
 public:
  virtual ~Mr() = default;
  Mr(const Mr&) = delete;
  Mr& operator=(const Mr&) = delete;

  // The memory that was registered.
  std::span<std::byte> memory() const { return memory_; }
  // The key for Sges of this side.
  Lkey lkey() const { return lkey_; }
  // The key for the peer.
  Rkey rkey() const { return rkey_; }
  // The address by which a peer names the first byte.
  RemoteAddr remote_addr() const { return remote_addr_; }
  // What became of the access flags that were asked for.
  const Granted& granted() const { return granted_; }

  // Names `length` bytes from `offset` on; nothing is checked.
  Sge sge(size_t offset, uint32_t length) const { return {memory_.data() + offset, length, lkey_}; }

 protected:
  Mr() = default;
  std::span<std::byte> memory_;
  Lkey lkey_;
  Rkey rkey_;
  RemoteAddr remote_addr_;
  Granted granted_;
};

// How a device binds a pool's keys to memory.
enum class Registration : uint8_t {
  kFastReg,        // kRegMr work request: any ranges, any rights, both sides of a transfer
  kMemoryWindow,   // type-2B window over one contiguous range of one base Mr; remote side only
  kPreRegistered,  // the base Mr's own key: scoped to the base registration, not to the I/O
};
// The name of the way, for people.
std::string_view to_string(Registration registration);

// What became of the checks of an integrity MR.
struct IntegrityReport {
  // The result of the checks.
  enum class Verdict : uint8_t {
    kGood,
    kBad,        // `error` is the first fault
    kUnchecked,  // no transfer to check: it was not registered with map_integrity() since the last
                 // report, or a base registration below it has ended
  };
  Verdict verdict = Verdict::kUnchecked;
  IntegrityError error{};
};

// An MR whose key is bound to memory by work requests, for one I/O after another.
class FastMr {
 public:
  virtual ~FastMr() = default;
  FastMr(const FastMr&) = delete;
  FastMr& operator=(const FastMr&) = delete;

  // Describes the memory of the next registration. Returns how many of `segments` it maps, counted
  // from the first. That is fewer than given when the capacity is reached, or at a gap that the MR
  // cannot map. A gap is a place between two segments that is not on a page boundary (4 KiB) on
  // both sides. 0: the first segment cannot be mapped. Every segment carries the lkey of its base
  // Mr.
  virtual size_t map(std::span<const Sge> segments) = 0;

  // The same with protection, on an MR that has FastMrOptions::integrity. `data` has whole blocks.
  // `protection` has kTupleBytes for each block where attributes.memory is protected, and is empty
  // otherwise. Both lists are mapped as a whole or not at all; gaps are allowed. length() and sge()
  // then describe the bytes on the wire, as a peer reads and writes them.
  //   kTooManySges  more segments than the capacity
  //   kTooLong      more blocks than the capacity, or more than a message of the device
  //   kBadSge       an lkey that does not cover its range
  //   kUnsupported  the MR has no integrity
  virtual PostStatus map_integrity(IntegrityFlow flow, std::span<const Sge> data,
                                   std::span<const Sge> protection,
                                   const IntegrityAttributes& attributes);
  // Ends a transfer of a mapping with integrity: what the checks found. Call once, when the whole
  // mapping has been transferred and the key is dead: before, neither data nor protection that came
  // from the wire mean anything. (ib_check_mr_status)
  virtual IntegrityReport check_integrity() { return {}; }

  // Gives lkey() and rkey() new values; call once between an invalidation and the next
  // registration. Read both again afterwards: verbs changes the low 8 bits (the key part of a
  // STag), uiwarp all 32, so that a peer cannot guess the next key. A value is used again after 127
  // others of this FastMr at the earliest.
  virtual void advance_key() = 0;

  // False on kPreRegistered devices: map() is all there is to do and nothing to invalidate.
  virtual bool needs_registration() const = 0;

  // The mapped memory as local work requests name it, where lkey() may be used in an Sge
  // (kFastReg and kPreRegistered): one Sge over the whole mapping.
  virtual Sge sge() const = 0;
  // The key for Sges of this side, of the last registration.
  Lkey lkey() const { return lkey_; }
  // The key for the peer, of the last registration.
  Rkey rkey() const { return rkey_; }
  // The address by which a peer names the first mapped byte.
  RemoteAddr remote_addr() const { return remote_addr_; }
  // The bytes that are mapped.
  uint64_t length() const { return length_; }
  // The Pd it was made from: a Qp of another one refuses it. Null: no Qp takes it.
  const Pd* pd() const { return pd_; }

  // Re-creates the key without a Qp (the repair path: the Qp that registered it is gone or in
  // error). Afterwards the old key is dead on the device. Any thread may call it, once no request
  // that names the key is under way. May take locks and system calls.
  [[nodiscard]] virtual absl::Status renew() = 0;

 protected:
  FastMr() = default;
  Lkey lkey_;
  Rkey rkey_;
  RemoteAddr remote_addr_;
  uint64_t length_ = 0;
  const Pd* pd_ = nullptr;
};

inline PostStatus FastMr::map_integrity(IntegrityFlow, std::span<const Sge>, std::span<const Sge>,
                                        const IntegrityAttributes&) {
  return PostStatus::kUnsupported;
}

}  // namespace mrpool
