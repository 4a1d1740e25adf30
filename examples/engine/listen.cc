#include "examples/engine/listen.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/base/json_object.h"
#include "examples/engine/portals.h"
#include "mrpool/device.h"
#include "mrpool/tls.h"

namespace mrpool::engine {
namespace {

// The position of the options, or the end.
size_t end_of_place(const std::string& address) {
  return std::min(address.find('?'), address.size());
}

// `address` was accepted by Address::parse().
bool has_port(const std::string& address) {
  const std::string place = address.substr(0, end_of_place(address));
  const size_t bracket = place.rfind(']');
  return place.find(':', bracket != place.npos ? bracket : place.find("://") + 3) != place.npos;
}

}  // namespace

absl::Status complete_listen(std::vector<std::string>& listen, uint16_t port_of_protocol) {
  std::set<std::string> seen;
  for (std::string& address : listen) {
    const auto parsed = Address::parse(address);
    if (!parsed.ok()) return parsed.status();
    if (!has_port(address)) {
      address.insert(end_of_place(address), absl::StrCat(":", port_of_protocol));
    } else if (parsed->port == 0) {
      continue;
    }
    if (!seen.insert(address).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", address, "\" is configured twice; leave one of them out"));
    }
  }
  return absl::OkStatus();
}

void read_listen(base::JsonObject& object, std::vector<std::string>& listen) {
  object.texts("listen", listen);
  for (size_t i = 0; i < listen.size(); ++i) {
    const auto parsed = Address::parse(listen[i]);
    if (parsed.ok()) continue;
    object.refuse(absl::StrCat("listen[", i, "]"), std::string(parsed.status().message()));
  }
}

absl::Status check_devices(std::span<const std::string> listen, bool may_come_later) {
  for (const std::string& text : listen) {
    const auto address = Address::parse(text);
    if (!address.ok()) return address.status();
    const absl::StatusOr<std::shared_ptr<Device>> device = Device::open(*address);
    absl::Status status = device.ok() ? check_tls_accepts(**device) : device.status();
    // Names are not resolved, because the resolver may take a long time.
    if (status.ok() && base::IpAddress::parse(address->host)) {
      status = resolve_host(address->host).status();
    }
    if (status.ok() || (may_come_later && !absl::IsInvalidArgument(status))) continue;
    return absl::Status(status.code(), absl::StrCat(text, ": ", status.message()));
  }
  return absl::OkStatus();
}

std::string listen_help(uint16_t port_of_protocol) {
  return absl::StrCat("uiwarp://HOST:PORT or verbs://HOST:PORT; without a port ", port_of_protocol,
                      ", port 0 picks one; may be repeated");
}

}  // namespace mrpool::engine
