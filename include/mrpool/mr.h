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
#include "mrpool/types.h"
#include "mrpool/work.h"

namespace mrpool {

class Pd;

class Mr {
 public:
  virtual ~Mr() = default;
  Mr(const Mr&) = delete;
  Mr& operator=(const Mr&) = delete;

  std::span<std::byte> memory() const { return memory_; }
  Lkey lkey() const { return lkey_; }
  Rkey rkey() const { return rkey_; }
  // What a peer calls the first byte.
  RemoteAddr remote_addr() const { return remote_addr_; }
  const Granted& granted() const { return granted_; }

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
std::string_view to_string(Registration registration);

class FastMr {
 public:
  virtual ~FastMr() = default;
  FastMr(const FastMr&) = delete;
  FastMr& operator=(const FastMr&) = delete;

  // Describes the memory of the next registration and returns how many of `segments` it takes, from
  // the front: fewer than given when the capacity is reached, or where a gap (a segment that does
  // not end, or a next one that does not start, on a page boundary) cannot be mapped. 0 when the
  // first segment cannot be mapped at all. Every segment carries the lkey of its base Mr.
  virtual size_t map(std::span<const Sge> segments) = 0;

  // Gives lkey() and rkey() new values; call once between an invalidation and the next
  // registration. Read both again afterwards: verbs changes the low 8 bits (the key part of a
  // STag), uiwarp all 32, so that no key tells the next one. A value does not come back before 127
  // others of this FastMr.
  virtual void advance_key() = 0;

  // False on kPreRegistered devices: map() is all there is to do and nothing to invalidate.
  virtual bool needs_registration() const = 0;

  // The mapped memory as local work requests name it, where lkey() may be used in an Sge
  // (kFastReg and kPreRegistered): one Sge over the whole mapping.
  virtual Sge sge() const = 0;
  Lkey lkey() const { return lkey_; }
  Rkey rkey() const { return rkey_; }
  RemoteAddr remote_addr() const { return remote_addr_; }
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

}  // namespace mrpool
