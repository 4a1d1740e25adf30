// A volume in an RBD image of a Ceph cluster, by librbd.
//
//   rbd:POOL/IMAGE[,conf=FILE][,id=USER][,namespace=NAME][,snap=NAME][,client=NAME][,ro]
//
// librbd is in a plugin (plugins/rbd.cc), which is loaded when the first image is opened. Images
// with the same `client` share a client of the cluster, which can be fenced alone.
//
// Thread safety and ownership: as Volume in storage.h.
#pragma once

#include "absl/status/statusor.h"
#include "examples/storage/backend.h"
#include "examples/storage/remote_api.h"

namespace mrpool::storage {

extern const Backend kRbd;

// Loads the plugin. Blocks.
absl::StatusOr<const RemoteApi*> rbd_plugin();

}  // namespace mrpool::storage
