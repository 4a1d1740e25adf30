#include "examples/nvmf/host/discovery.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/host/limits.h"

namespace mrpool::nvme::host {
namespace {

constexpr uint8_t kDiscoveryPage = 0x70;
constexpr int kTries = 10;
constexpr size_t kRecordsPerRead = 4;

struct Header {
  uint64_t generation = 0;
  uint64_t records = 0;
};

Async<absl::StatusOr<Header>> read_header(Controller& controller) {
  std::vector<std::byte> page(sizeof(nvmf_discovery_log));
  const absl::Status status = co_await controller.log_page(kDiscoveryPage, 0, page);
  if (!status.ok()) co_return status;
  const auto* log = reinterpret_cast<const nvmf_discovery_log*>(page.data());
  co_return Header{le(uint64_t(log->genctr)), le(uint64_t(log->numrec))};
}

}  // namespace

Async<absl::StatusOr<DiscoveryLog>> read_discovery_log(Controller& controller) {
  for (int i = 0; i < kTries; ++i) {
    const auto before = co_await read_header(controller);
    if (!before.ok()) co_return before.status();
    DiscoveryLog log;
    log.generation = before->generation;
    const uint64_t records = before->records;
    if (records > kMaxDiscoveryRecords) {
      co_return absl::ResourceExhaustedError(absl::StrCat("the discovery log claims ", records,
                                                          " records; at most ",
                                                          kMaxDiscoveryRecords, " are read"));
    }
    log.entries.resize(records);
    for (size_t at = 0; at < records; at += kRecordsPerRead) {
      const auto piece =
          std::span(log.entries).subspan(at, std::min(kRecordsPerRead, records - at));
      const absl::Status status = co_await controller.log_page(
          kDiscoveryPage, sizeof(nvmf_discovery_log) + at * sizeof(nvmf_disc_log_entry),
          std::as_writable_bytes(piece));
      if (!status.ok()) co_return status;
    }
    const auto after = co_await read_header(controller);
    if (!after.ok()) co_return after.status();
    if (after->generation == log.generation) co_return log;
  }
  co_return absl::UnavailableError("the discovery log keeps changing while it is read");
}

std::string transport_name(const nvmf_disc_log_entry& entry) {
  switch (entry.trtype) {
    case NVMF_TRTYPE_RDMA:
      return "rdma";
    case NVMF_TRTYPE_TCP:
      return "tcp";
    case NVMF_TRTYPE_FC:
      return "fc";
    case NVMF_TRTYPE_LOOP:
      return "loop";
    default:
      return absl::StrCat("type ", entry.trtype);
  }
}

std::string subsystem_type_name(const nvmf_disc_log_entry& entry) {
  switch (entry.subtype) {
    case NVME_NQN_DISC:
      return "referral";
    case NVME_NQN_NVME:
      return "nvme";
    case NVME_NQN_CURR:
      return "discovery";
    default:
      return absl::StrCat("type ", entry.subtype);
  }
}

std::string address_family_name(const nvmf_disc_log_entry& entry) {
  switch (entry.adrfam) {
    case NVMF_ADDR_FAMILY_IP4:
      return "ipv4";
    case NVMF_ADDR_FAMILY_IP6:
      return "ipv6";
    case NVMF_ADDR_FAMILY_IB:
      return "ib";
    default:
      return absl::StrCat("family ", entry.adrfam);
  }
}

std::string requirements_name(const nvmf_disc_log_entry& entry) {
  switch (entry.treq & 3) {
    case NVMF_TREQ_NOT_SPECIFIED:
      return "not specified";
    case NVMF_TREQ_REQUIRED:
      return "secure channel required";
    case NVMF_TREQ_NOT_REQUIRED:
      return "secure channel not required";
    default:
      return "reserved";
  }
}

}  // namespace mrpool::nvme::host
