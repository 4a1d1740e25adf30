// The reservations of one namespace, as all hosts and threads share them: NVMe's commands over
// examples/reservation/registry.h.
//
// A registrant is a host identifier, whatever controllers the host has. I/O queues keep what their
// host may do, and compare held(), one load, for each command; it is zero where nobody holds a
// reservation. run() installs a change before it returns, so a command that begins afterwards sees
// it. Preempt and Abort then ends earlier commands by messages to the workers.
//
// Thread safety: shared objects: safe. run() and set_persistent() wait for the disk where what they
// change is kept: not for a reactor's thread then (may_block()).
// Clauses: [base] 7.2 to 7.5 commands, 8.19 reservations.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/reservation/registry.h"

namespace mrpool::nvmf_target {

using HostId = std::array<uint8_t, 16>;
// As the registry names it: 32 hexadecimal digits.
std::string registrant(const HostId& host);

struct ReservationRequest {
  nvme::IoOpcode opcode{};
  uint32_t cdw10 = 0;
  nvme::ReservationKeys keys;
};

class Reservations {
 public:
  // Makes `state` durable; an empty string means that nothing is kept.
  using Save = std::function<absl::Status(const std::string& state)>;

  // What `save` gets: what survives power loss; or everything, for another gateway.
  enum class Keeps : uint8_t { kPersistent, kAll };

  // Without `save` nothing survives the process, which RESCAP announces.
  explicit Reservations(Save save = {}, reservation::Registry kept = {},
                        Keeps keeps = Keeps::kPersistent);
  // Those that are kept in the file. DataLoss: it is not what was written there.
  static absl::StatusOr<std::shared_ptr<Reservations>> open(const std::string& path);

  // Takes over what another gateway has kept. DataLoss: it is not what was written there.
  absl::Status take_over(std::string_view kept);

  // 0: nobody holds a reservation. Another number: what hosts may do has changed.
  // Acquire: pairs with the release of publish().
  uint64_t held() const { return held_.load(std::memory_order_acquire); }
  struct Rights {
    bool allow(reservation::Access access) const {
      return access == reservation::Access::kRead    ? read
             : access == reservation::Access::kWrite ? write
                                                     : true;
    }
    uint64_t held = 0;  // that they are of
    bool read = true;
    bool write = true;
  };
  Rights rights(const HostId& host) const;

  struct Answer {
    nvme::Status status = nvme::Status::kSuccess;
    std::vector<reservation::Notice> notices{};
    std::vector<std::string> fenced{};  // registrants whose commands have to end first
  };
  Answer run(const ReservationRequest& request, const HostId& host);
  // The Reservation Status data structure, extended.
  std::vector<std::byte> report() const;

  bool can_persist() const { return save_ != nullptr; }
  bool may_block() const { return save_ != nullptr; }
  bool persistent() const;
  nvme::Status set_persistent(bool persistent);

 private:
  reservation::Registry copy() const;
  nvme::Status decide(const ReservationRequest& request, const std::string& who,
                      reservation::Registry& state, reservation::Outcome& outcome) const;
  nvme::Status register_host(const ReservationRequest& request, const std::string& who,
                             reservation::Registry& state, reservation::Outcome& outcome) const;
  // Keeps and installs `next`, which came out of `before`.
  nvme::Status publish(reservation::Registry next, bool kept_before);

  void install(reservation::Registry next);

  const Save save_;
  const Keeps keeps_ = Keeps::kPersistent;
  std::mutex changing_;  // one change at a time; outside mutex_
  mutable std::mutex mutex_;
  reservation::Registry state_;  // changed with both mutexes held
  uint64_t changes_ = 0;
  std::atomic<uint64_t> held_{0};
};

}  // namespace mrpool::nvmf_target
