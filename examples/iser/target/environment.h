// The external dependencies of the target: devices, storage, randomness. Programs use the defaults;
// a simulation replaces all of them.
//
// Thread safety: the reactor's thread. Ownership: values.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {

struct Environment {
  std::function<absl::StatusOr<std::shared_ptr<Device>>(const Address& address)> open_device =
      Device::open;
  std::function<absl::StatusOr<std::shared_ptr<storage::Volume>>(
      std::string_view spec, const storage::OpenOptions& options)>
      open_volume = storage::open;
  iscsi::RandomFill random = iscsi::system_random;
};

}  // namespace mrpool::iser_target
