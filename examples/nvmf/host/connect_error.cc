#include "examples/nvmf/host/connect_error.h"

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::host {
namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string explain(const Address& address, const Disconnect& why) {
  const std::string where = address.to_string();
  if (why.detail.empty()) return absl::StrCat(where, ": ", view(to_string(why.reason)));
  if (why.detail.find(where) != why.detail.npos) return std::string(why.detail);
  return absl::StrCat(where, ": ", view(why.detail));
}

absl::Status connect_error(const Outcome& outcome, const QueueOptions& options,
                           const std::string& said) {
  const std::string text = absl::StrCat("Connect to '", options.subnqn, "': ", said);
  const Status reason = code(outcome.status);
  if (ended_here(reason)) return absl::UnavailableError(text);
  switch (reason) {
    case Status::kConnectInvalidHost:
      return absl::PermissionDeniedError(absl::StrCat(
          "the subsystem '", options.subnqn, "' does not allow the host '", options.host.nqn,
          "'; add it to the target's host list, or give --host-nqn"));
    case Status::kConnectInvalidParameters: {
      const bool in_data = (outcome.result >> 16 & 1) != 0;
      const auto offset = uint16_t(outcome.result);
      if (in_data && offset == offsetof(ConnectData, subsysnqn)) {
        return absl::NotFoundError(absl::StrCat("the target has no subsystem '", options.subnqn,
                                                "' here; `mrpool-nvmf discover` lists them"));
      }
      return absl::InvalidArgumentError(
          absl::StrCat(text, ": byte ", offset, " of the ", in_data ? "data" : "command"));
    }
    case Status::kConnectControllerBusy:
      return absl::UnavailableError(text);
    case Status::kAuthRequired:
      return absl::UnauthenticatedError(
          absl::StrCat(text, "; give --dhchap-secret the file of this host's key"));
    default:
      return absl::FailedPreconditionError(text);
  }
}

absl::Status rejection(const Address& address, std::span<const std::byte> private_data) {
  if (private_data.size() < sizeof(RdmaReject)) {
    return absl::UnavailableError(
        absl::StrCat(address.to_string(), " rejected the connection without a reason"));
  }
  const auto reject = read_struct<RdmaReject>(private_data);
  const auto reason = RdmaStatus(uint16_t(reject.status));
  return absl::UnavailableError(
      absl::StrCat(address.to_string(), " rejected the connection: ", view(to_string(reason)),
                   reason == RdmaStatus::kNoResources
                       ? ", for example because its limit of connections is reached"
                       : ""));
}

}  // namespace mrpool::nvme::host
