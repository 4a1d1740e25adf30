// The uiwarp device: RDMA over TCP in userspace (iWARP), on a Network that is handed in.
//
// Device::open opens one from an address by open_device; tests and simulations make one on a
// network and under a seed of their own.
//
// Thread safety: as Device in mrpool/device.h. parse_options is pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/device.h"
#include "transport/uiwarp/stream.h"
#include "transport/uiwarp/tls_options.h"

namespace mrpool::uiwarp {

// The part after '?' in "uiwarp://host:port?crc=off&placement=adversarial&seed=7".
struct DeviceOptions {
  // Asks for CRC32C over every FPDU. Off: none unless the peer asks (either side's wish switches
  // it on for both, RFC 5044 §7.1).
  bool crc = true;
  // The ordering sanitizer: withhold, split and scramble what relaxed ordering lets a device
  // withhold (docs/reference/relaxed_ordering.md).
  bool adversarial_placement = false;
  // Immediate data and atomics (RFC 7306), which are used with peers that have them too. Off: this
  // device is as one without them.
  bool extensions = true;
  // Fills what is withheld with a pattern until it is placed.
  bool poison = false;
  // Everything random in the device (keys, placement) follows from it; drawn from the system when
  // absent.
  std::optional<uint64_t> seed = std::nullopt;
  // For the network of the device: open_device() looks at it, make_device() does not.
  TlsOptions tls = {};

  friend bool operator==(const DeviceOptions&, const DeviceOptions&) = default;
};

// `text` on top of `base`. InvalidArgument names the option or value that is wrong and the ones
// there are.
absl::StatusOr<DeviceOptions> parse_options(std::string_view text, const DeviceOptions& base = {});

// A device on TCP sockets, with TLS over them where the options ask for it. The address's host and
// port choose nothing here. InvalidArgument: its options, or the files that they name.
absl::StatusOr<std::shared_ptr<Device>> open_device(const Address& address);

// `network` is shared by all connections of the device.
std::shared_ptr<Device> make_device(const DeviceOptions& options, std::shared_ptr<Network> network);

}  // namespace mrpool::uiwarp
