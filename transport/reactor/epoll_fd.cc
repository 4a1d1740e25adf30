#include "transport/reactor/epoll_fd.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"

namespace mrpool {
namespace {

// One line of an epoll set's fdinfo: "tfd:       5 events:       19 data: ...".
bool watches_all(const std::filesystem::path& fdinfo, std::span<const int> watched) {
  std::ifstream file(fdinfo);
  std::string key;
  size_t found = 0;
  while (file >> key) {
    int fd = -1;
    if (key == "tfd:" && file >> fd) found += std::ranges::count(watched, fd);
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return found == watched.size();
}

}  // namespace

int find_epoll_fd(std::span<const int> watched) {
  std::error_code error;
  // Other threads open and close descriptors meanwhile; those entries fail and are passed over.
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    std::error_code gone;
    const std::filesystem::path target = std::filesystem::read_symlink(entry->path(), gone);
    if (gone || target != "anon_inode:[eventpoll]") continue;
    const std::string name = entry->path().filename();
    int fd = -1;
    if (watches_all("/proc/self/fdinfo/" + name, watched) && absl::SimpleAtoi(name, &fd)) return fd;
  }
  return -1;
}

}  // namespace mrpool
