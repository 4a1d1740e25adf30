// What both transports check alike before they make a Cq, a Qp or a connection, in the same words.
//
// Thread safety: the functions are pure; a CqRoom belongs to its Cq's reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>

#include "absl/status/status.h"
#include "mrpool/device.h"

namespace mrpool::checks {

// InvalidArgument: "max_send_wr 70000 exceeds the 32768 of uiwarp".
absl::Status over_limit(std::string_view what, uint64_t asked, uint64_t limit,
                        std::string_view device);
// The same for each of `options` that exceeds the caps. `ord` and `ird` are lowered, not refused.
absl::Status check_qp_options(const DeviceCaps& caps, const QpOptions& options);
// InvalidArgument where max_wr or max_sge is 0 or exceeds its limit.
absl::Status check_srq_options(const SrqOptions& options, uint64_t max_wr, uint64_t max_sge,
                               std::string_view device);
// `message` is "connect", "accept" or "reject".
absl::Status check_private_data(std::string_view message, size_t bytes, size_t limit,
                                std::string_view device);
// InvalidArgument where `address` names another transport than `transport`.
absl::Status check_transport(const Address& address, std::string_view transport);

// The entries of a Cq that its Qps may fill. A Cq is never resized, so what its Qps can have
// outstanding must fit into its depth. Receives of an Srq count once, whatever Qps take them.
class CqRoom {
 public:
  explicit CqRoom(uint32_t depth) : depth_(depth) {}

  // What one Qp may fill.
  struct Share {
    uint64_t requests = 0;     // of its own queues
    const Srq* srq = nullptr;  // whose receives it takes
    uint64_t srq_requests = 0;
  };
  // ResourceExhausted: `share` does not fit together with the others; names the depth that would
  // do.
  absl::Status fits(const Share& share, std::string_view cq) const;
  void add(const Share& share);
  void remove(const Share& share);
  uint64_t used() const { return used_; }

 private:
  uint64_t entries_of(const Share& share) const;

  const uint32_t depth_;
  uint64_t used_ = 0;
  std::map<const Srq*, uint32_t> srqs_;  // with the number of Qps that take from each
};

// What a Qp adds to its two Cqs, which may be one. `srq_requests` is the capacity of options.srq.
struct CqShares {
  CqShares(const QpOptions& options, uint64_t srq_requests);
  absl::Status fit(const CqRoom& send_room, const CqRoom& recv_room) const;

  CqRoom::Share send;
  CqRoom::Share recv;
};

}  // namespace mrpool::checks
