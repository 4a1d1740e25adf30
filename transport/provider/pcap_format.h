// What mrpool-run --pcap writes: a pcap file of raw IP packets, and how it is named.
//
// Thread safety: pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace mrpool::provider {

// The first bytes of the file, in the machine's order, which readers find out by themselves.
struct PcapHeader {
  uint32_t magic = 0xa1b23c4d;  // times in nanoseconds
  uint16_t major = 2;
  uint16_t minor = 4;
  uint32_t zone = 0;
  uint32_t accuracy = 0;
  uint32_t longest = 262144;
  uint32_t link_type = 101;  // LINKTYPE_RAW: each packet begins with its IP header
};
static_assert(sizeof(PcapHeader) == 24);

// Stands for the process id in the name that the user gave.
inline constexpr std::string_view kProcessMark = "%p";

// The file of process `pid`. Without a mark only the process that mrpool-run became (`first`) has
// the very name; others, its children, add a dot and their id.
inline std::string capture_path(std::string_view name, pid_t pid, pid_t first) {
  std::string path(name);
  const std::string id = std::to_string(pid);
  const size_t at = path.find(kProcessMark);
  if (at != std::string::npos) return path.replace(at, kProcessMark.size(), id);
  return pid == first ? path : path + "." + id;
}

}  // namespace mrpool::provider
