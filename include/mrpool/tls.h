// TLS of a uiwarp device, which the options of its address switch on (docs/operate/tls.md).
//
// Thread safety: any thread.
#pragma once

#include "absl/status/status.h"
#include "mrpool/device.h"

namespace mrpool {

// Reads again the files of keys and certificates that the device's address names. New connections
// use what they hold; others keep what they began with. InvalidArgument names the file that is
// wrong, and the keys of before stay. A device without TLS has nothing to read. May block on a file
// system.
absl::Status reload_tls(const Device& device);

// InvalidArgument: the option that the device's address lacks for accepting connections. listen()
// returns the same.
absl::Status check_tls_accepts(const Device& device);

}  // namespace mrpool
