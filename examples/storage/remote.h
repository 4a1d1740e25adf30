// A volume that a plugin serves from another place, such as an image of a cluster (remote_api.h).
//
// Requests go to the plugin with their scatter lists. The plugin completes them on its own threads.
// Each completion is a task for the reactor that submitted the request.
//
// When the store has fenced this client, every request fails with kInaccessible. Opening the store
// again makes a new client (Volume::fenced).
//
// Thread safety and ownership: as Volume in storage.h. A separate thread closes the plugin's image,
// because that may take long. The end of the process waits for it, ten seconds at most.
#pragma once

#include <chrono>
#include <memory>

#include "examples/storage/backend.h"
#include "examples/storage/remote_api.h"

namespace mrpool::storage {

// Blocks, as the plugin's open() does.
absl::StatusOr<std::shared_ptr<Volume>> open_remote(const Spec& spec, const RemoteApi& api);

// Waits until the images that are being closed are closed, for `patience` at most; whether they
// are.
bool wait_for_closed_images(std::chrono::nanoseconds patience);

}  // namespace mrpool::storage
