// A volume in an RBD image of a Ceph cluster, by librbd.
//
//   rbd:POOL/IMAGE[,conf=FILE][,id=USER][,namespace=NAME][,snap=NAME][,ro]
//
// librbd is in a plugin (rbd_plugin.cc), which is loaded when the first image is opened.
//
// Thread safety and ownership: as Volume in storage.h.
#pragma once

#include "examples/storage/backend.h"

namespace mrpool::storage {

extern const Backend kRbd;

}  // namespace mrpool::storage
