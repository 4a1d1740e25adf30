// Who uses a file or device that cannot be had, in the words of a message.
//
// Thread safety: any thread; reads /proc and /sys. Ownership: none.
#pragma once

#include <sys/stat.h>

#include <string>

namespace mrpool::storage {

// A process that holds a lock on the file open as `fd`; 0: /proc shows none.
long process_that_locks(int fd);

// Why the block device cannot be opened exclusively and what to do, as the end of a sentence that
// starts with its path: "is mounted at /srv; unmount it (umount /srv) or serve another device".
std::string users_of_device(const std::string& path);

// Where the kernel shows what it uses; elsewhere in tests.
struct KernelTables {
  std::string sys = "/sys";
  std::string proc = "/proc";
};
// What the kernel uses the regular file for, where others would destroy what it finds there: as the
// end of such a sentence, "backs /dev/loop3; ..." or "is swap space; ...". Empty: nothing that is
// seen from here. Who only reads may share it with a loop device that only reads.
std::string users_of_file(const struct stat& file, bool read_only, const KernelTables& tables = {});

}  // namespace mrpool::storage
