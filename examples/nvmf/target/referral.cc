#include "examples/nvmf/target/referral.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/base/json_lines.h"
#include "examples/base/units.h"

namespace mrpool::nvmf_target {

using nvme::le;

namespace {

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::StatusOr<std::string> numeric(const std::string& text, const std::string& family) {
  const auto address = base::IpAddress::parse(text);
  if (!address) {
    return bad("traddr: \"", text, "\" is not a numeric address; write 10.0.0.9, or fd00::9");
  }
  if (!address->scope().empty()) {
    return bad("traddr: ", text, " names an interface of this machine; leave out %",
               address->scope());
  }
  if (address->wildcard()) {
    return bad("traddr: ", text, " is not an address that hosts can connect to");
  }
  const std::string lower = absl::AsciiStrToLower(family);
  if (!lower.empty() && lower != "ipv4" && lower != "ipv6") {
    return bad("adrfam: \"", family, "\" is not possible; write IPv4 or IPv6");
  }
  if (!lower.empty() && (lower == "ipv6") != address->ipv6()) {
    return bad("adrfam: ", text, " is not ", family);
  }
  return address->to_string();
}

}  // namespace

std::string name_of(const Referral& referral) {
  const bool ipv6 = referral.address.find(':') != std::string::npos;
  return absl::StrCat(referral.transport, "://", ipv6 ? "[" : "", referral.address, ipv6 ? "]" : "",
                      ":", referral.port, referral.nqn == nvme::kDiscoveryNqn ? "" : " ",
                      referral.nqn == nvme::kDiscoveryNqn ? "" : referral.nqn);
}

absl::StatusOr<Referral> make_referral(const std::string& transport, const std::string& family,
                                       const std::string& address, const std::string& port,
                                       const std::string& nqn) {
  Referral referral;
  referral.transport = absl::AsciiStrToLower(transport);
  if (referral.transport != "rdma" && referral.transport != "tcp") {
    return bad("trtype: \"", transport, "\" is not possible; write rdma or tcp");
  }
  auto host = numeric(address, family);
  if (!host.ok()) return host.status();
  referral.address = *std::move(host);
  if (port.empty()) return bad("trsvcid: the port is missing; write 4420, or 8009");
  const auto number = base::parse_count(port, {.least = 1, .most = 65535});
  if (!number.ok()) return bad("trsvcid: ", number.status().message());
  referral.port = uint16_t(*number);
  if (nqn.empty()) return referral;
  if (!nvme::valid_nqn(nqn)) {
    return bad("subnqn: \"", nqn, "\" is not an NQN; leave it out to refer to a discovery service");
  }
  referral.nqn = nqn;
  return referral;
}

absl::Status check_referrals(const std::vector<Referral>& referrals) {
  if (referrals.size() > kMaxReferrals) {
    return absl::FailedPreconditionError(
        absl::StrCat("there are ", referrals.size(), " referrals; at most ", kMaxReferrals));
  }
  std::set<std::string> names;
  for (const Referral& each : referrals) {
    if (names.insert(name_of(each)).second) continue;
    return bad(base::at_line(each.line), "referral ", name_of(each), " is given twice");
  }
  return absl::OkStatus();
}

nvmf_disc_log_entry discovery_entry(const Referral& referral) {
  const bool ipv6 = referral.address.find(':') != std::string::npos;
  const bool rdma = referral.transport == "rdma";
  nvmf_disc_log_entry entry{};
  entry.trtype = rdma ? NVMF_TRTYPE_RDMA : NVMF_TRTYPE_TCP;
  entry.adrfam = ipv6 ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4;
  entry.subtype = referral.nqn == nvme::kDiscoveryNqn ? NVME_NQN_DISC : NVME_NQN_NVME;
  entry.treq = referral.secure_channel ? NVMF_TREQ_REQUIRED : NVMF_TREQ_NOT_SPECIFIED;
  entry.cntlid = le(nvme::kDynamicController);
  entry.asqsz = le(uint16_t(nvme::kMinAdminQueueEntries));
  nvme::set_field(entry.subnqn, referral.nqn);
  nvme::set_field(entry.traddr, referral.address);
  nvme::set_field(entry.trsvcid, std::to_string(referral.port));
  if (rdma) {
    entry.tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
    entry.tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
    entry.tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
  } else {
    entry.tsas.tcp.sectype =
        referral.secure_channel ? NVMF_TCP_SECTYPE_TLS13 : NVMF_TCP_SECTYPE_NONE;
  }
  return entry;
}

}  // namespace mrpool::nvmf_target
