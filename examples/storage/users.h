// Who uses a file or device that could not be had: for messages.
//
// Thread safety: any thread; reads /proc and /sys. Ownership: none.
#pragma once

#include <string>

namespace mrpool::storage {

// A process that holds a lock on the file open as `fd`; 0: /proc shows none.
long process_that_locks(int fd);

// Why the block device cannot be opened exclusively and what to do, as the end of a sentence that
// starts with its path: "is mounted at /srv; unmount it (umount /srv) or serve another device".
std::string users_of_device(const std::string& path);

}  // namespace mrpool::storage
