// The one place that knows every transport.
#include "transport/uiwarp/open.h"

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mrpool/device.h"
#include "transport/uiwarp/socket.h"
#include "transport/verbs/open.h"

namespace mrpool {

absl::StatusOr<std::shared_ptr<Device>> Device::open(const Address& address) {
  if (address.transport == "uiwarp") {
    const absl::StatusOr<uiwarp::DeviceOptions> options = uiwarp::parse_options(address.options);
    if (!options.ok()) return options.status();
    return uiwarp::make_device(*options, uiwarp::make_socket_network());
  }
  if (address.transport == "verbs") {
    return verbs::open_device(address);
  }
  return absl::InvalidArgumentError(absl::StrCat("address '", address.to_string(),
                                                 "': unknown transport '", address.transport,
                                                 "'; there are uiwarp and verbs"));
}

}  // namespace mrpool
