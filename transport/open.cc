// The one place that knows every transport: scheme → how a device is opened.
#include "transport/uiwarp/open.h"

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "mrpool/device.h"
#include "transport/verbs/open.h"

namespace mrpool {
namespace {

struct Transport {
  const char* scheme;  // of the address, in front of "://"
  absl::StatusOr<std::shared_ptr<Device>> (*open)(const Address& address);
};

// To add a transport, add its line.
constexpr Transport kTransports[] = {
    {"uiwarp", uiwarp::open_device},
    {"verbs", verbs::open_device},
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> Device::open(const Address& address) {
  for (const Transport& transport : kTransports) {
    if (address.transport == transport.scheme) return transport.open(address);
  }
  const auto scheme = [](std::string* out, const Transport& each) { out->append(each.scheme); };
  return absl::InvalidArgumentError(
      absl::StrCat("address '", address.to_string(), "': unknown transport '", address.transport,
                   "'; known are: ", absl::StrJoin(kTransports, ", ", scheme)));
}

}  // namespace mrpool
