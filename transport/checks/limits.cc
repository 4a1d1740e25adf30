#include "transport/checks/limits.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::checks {
namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

// What TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT of Linux take.
absl::Status check_keep_alive(const KeepAlive& keep_alive) {
  constexpr Nanoseconds kShortest = std::chrono::seconds(1);
  constexpr Nanoseconds kLongest = std::chrono::seconds(32767);
  constexpr uint32_t kMostProbes = 127;
  for (const auto& [name, time] :
       {std::pair{"idle", keep_alive.idle}, std::pair{"interval", keep_alive.interval}}) {
    if (time >= kShortest && time <= kLongest) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("KeepAlive::", name, " of ", time.count(), " ns is outside 1 s to 32767 s"));
  }
  if (keep_alive.probes >= 1 && keep_alive.probes <= kMostProbes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("KeepAlive::probes ", keep_alive.probes, " is outside 1 to ", kMostProbes));
}

}  // namespace

absl::Status over_limit(std::string_view what, uint64_t asked, uint64_t limit,
                        std::string_view device) {
  return absl::InvalidArgumentError(
      absl::StrCat(view(what), " ", asked, " exceeds the ", limit, " of ", view(device)));
}

absl::Status check_qp_options(const DeviceCaps& caps, const QpOptions& options) {
  struct Limit {
    std::string_view name;
    uint64_t asked;
    uint64_t limit;
  };
  for (const Limit& each : {Limit{"max_send_wr", options.max_send_wr, caps.max_qp_wr},
                            Limit{"max_recv_wr", options.max_recv_wr, caps.max_qp_wr},
                            Limit{"max_send_sge", options.max_send_sge, caps.max_sge},
                            Limit{"max_recv_sge", options.max_recv_sge, caps.max_sge}}) {
    if (each.asked > each.limit) return over_limit(each.name, each.asked, each.limit, caps.name);
  }
  return check_keep_alive(options.keep_alive);
}

absl::Status check_srq_options(const SrqOptions& options, uint64_t max_wr, uint64_t max_sge,
                               std::string_view device) {
  if (options.max_wr == 0) return absl::InvalidArgumentError("SrqOptions::max_wr is 0");
  if (options.max_sge == 0) return absl::InvalidArgumentError("SrqOptions::max_sge is 0");
  if (options.max_wr > max_wr) {
    return over_limit("SrqOptions::max_wr", options.max_wr, max_wr, device);
  }
  if (options.max_sge > max_sge) {
    return over_limit("SrqOptions::max_sge", options.max_sge, max_sge, device);
  }
  return absl::OkStatus();
}

absl::Status check_private_data(std::string_view message, size_t bytes, size_t limit,
                                std::string_view device) {
  if (bytes <= limit) return absl::OkStatus();
  return over_limit(absl::StrCat("the private data of ", view(message), ", in bytes:"), bytes,
                    limit, device);
}

absl::Status check_transport(const Address& address, std::string_view transport) {
  if (address.transport == transport) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("address '", address.to_string(),
                                                 "' is not of this device's transport: write it ",
                                                 view(transport), "://..."));
}

uint64_t CqRoom::entries_of(const Share& share) const {
  const bool new_srq = share.srq != nullptr && !srqs_.contains(share.srq);
  return share.requests + (new_srq ? share.srq_requests : 0);
}

absl::Status CqRoom::fits(const Share& share, std::string_view cq) const {
  const uint64_t wanted = used_ + entries_of(share);
  if (wanted <= depth_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the ", view(cq), " has ", depth_, " entries and ", wanted - used_,
                   " more requests make ", wanted, ": raise CqOptions::depth to that"));
}

void CqRoom::add(const Share& share) {
  used_ += entries_of(share);
  if (share.srq != nullptr) ++srqs_[share.srq];
}

void CqRoom::remove(const Share& share) {
  if (share.srq != nullptr && --srqs_[share.srq] == 0) srqs_.erase(share.srq);
  used_ -= entries_of(share);
}

CqShares::CqShares(const QpOptions& options, uint64_t srq_requests)
    : send{.requests = options.max_send_wr},
      recv{.requests = options.srq != nullptr ? 0 : options.max_recv_wr,
           .srq = options.srq,
           .srq_requests = srq_requests} {}

absl::Status CqShares::fit(const CqRoom& send_room, const CqRoom& recv_room) const {
  if (&send_room == &recv_room) {
    CqRoom::Share both = recv;
    both.requests += send.requests;
    return send_room.fits(both, "Cq");
  }
  if (absl::Status status = send_room.fits(send, "send_cq"); !status.ok()) return status;
  return recv_room.fits(recv, "recv_cq");
}

}  // namespace mrpool::checks
