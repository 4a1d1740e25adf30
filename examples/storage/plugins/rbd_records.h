// Records of a group of daemons: the omap entries of one RADOS object, and the fences of clients
// (remote_api.h).
//
// A guarded change is one operation of the OSD: it compares entries and sets others, or does
// nothing. A fence is an entry of the OSD map's blocklist. An OSD refuses a fenced client once it
// has that map. settle() makes the client of images know a map with the fence. An OSD takes that
// map before it executes a request of that client.
//
// Thread safety and ownership: as remote_api.h.
#pragma once

#include "examples/storage/remote_api.h"

namespace mrpool::storage {

extern const RemoteRecordsApi kRbdRecords;

}  // namespace mrpool::storage
