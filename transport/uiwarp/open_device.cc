// Apart from open.cc: a program that brings its own network, as mrpool-run's provider, needs no
// OpenSSL.
#include "transport/uiwarp/open.h"
#include "transport/uiwarp/socket.h"
#include "transport/uiwarp/tls_network.h"

namespace mrpool::uiwarp {

absl::StatusOr<std::shared_ptr<Device>> open_device(const Address& address) {
  const absl::StatusOr<DeviceOptions> options = parse_options(address.options);
  if (!options.ok()) return options.status();
  std::shared_ptr<Network> network = make_socket_network();
  if (options->tls.mode != TlsMode::kOff) {
    absl::StatusOr<std::shared_ptr<const TlsContext>> context = TlsContext::create(options->tls);
    if (!context.ok()) return context.status();
    network = make_tls_network(*std::move(context), std::move(network));
  }
  return make_device(*options, std::move(network));
}

}  // namespace mrpool::uiwarp
