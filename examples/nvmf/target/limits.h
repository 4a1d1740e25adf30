// All limits of the target, with their reasons.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "examples/engine/limits.h"
#include "examples/protocol/nvme/wire.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

// CAP.MQES + 1: entries of a queue, slots of a Qp.
inline constexpr uint32_t kMaxQueueEntries = 1024;
// Identify MDTS: 2^8 pages of 4 KiB.
inline constexpr uint8_t kMdts = 8;
inline constexpr uint32_t kMaxTransfer = 4096u << kMdts;
static_assert(kMaxTransfer == engine::kMaxTransfer);
// I/O queues of one controller.
inline constexpr uint16_t kMaxIoQueues = 128;
// Identify NN. Namespaces may be added and removed below it.
inline constexpr uint32_t kMaxNamespaces = 1024;
// Identify ANAGRPMAX and NANAGRPID: groups of namespaces (ana.h).
inline constexpr uint32_t kMaxAnaGroups = 128;
// Identify ANATT: hosts wait so long for the end of the state "change". In seconds.
inline constexpr uint8_t kAnaTransitionTime = 10;
// Lost hosts whose nsids and stores are remembered (lost_hosts.h).
inline constexpr size_t kMaxLostHosts = 1024;
// Identify AERL + 1: outstanding Asynchronous Event Requests of a host.
inline constexpr uint32_t kMaxAsyncEvents = 4;
// Identify ACL + 1: concurrent Aborts.
inline constexpr uint32_t kMaxAborts = 4;
// Commands of a queue that have ended while the storage still works on their requests. At the
// limit, an Abort is answered "not aborted". Each such command keeps its memory, and its capsule if
// the data is in it.
constexpr uint32_t most_late(uint32_t entries) { return entries < 32 ? entries : 32; }
// Twice the entries: a host may reuse an entry before the Cq reports that the SEND of its last
// completion has completed.
constexpr uint32_t most_commands(uint32_t entries) { return 2 * entries + most_late(entries); }
// The longest Compare and Write. The host's data of both commands and the stored data take a part
// of one chunk each.
inline constexpr uint32_t kMaxFused = 32 << 10;
static_assert(3 * kMaxFused <= engine::kChunk);
// Identify MSRC, MSSRL and MCL: the source ranges of a Copy, the blocks of one, and of all. The
// data passes through one chunk of staging memory.
inline constexpr uint32_t kMaxCopyRanges = 128;
inline constexpr uint64_t kMaxCopy = 128 << 20;
constexpr uint32_t most_copied(uint32_t block_size) { return uint32_t(kMaxCopy / block_size); }
// Where in that chunk the data begins, after the ranges.
inline constexpr uint32_t kCopyDataAt = 4096;
static_assert(kMaxCopyRanges * sizeof(nvme_copy_range) <= kCopyDataAt);
constexpr uint16_t most_copied_at_once(uint32_t block_size) {
  return uint16_t(most_copied(block_size) < 0xffff ? most_copied(block_size) : 0xffff);
}
// The second command of a fused operation follows the first immediately. A first command that is
// alone for so long is aborted.
inline constexpr Nanoseconds kFusedPatience = std::chrono::seconds(5);
// Identify MSDBD: data descriptors of one command.
inline constexpr uint32_t kMaxSglDescriptors = 16;
// Identify ELPE + 1.
inline constexpr uint32_t kErrorLogEntries = 64;
// Entries of the Changed Namespace List; if more have changed, it reports "all".
inline constexpr uint32_t kMaxChangedNamespaces = 1024;
// Controller ids 1..0xffef, [fab] 2.1.
inline constexpr uint16_t kMaxControllerId = 0xffef;
// Controllers of all subsystems together.
inline constexpr uint32_t kDefaultMaxControllers = 4096;
// Identify SN.
inline constexpr size_t kSerialBytes = 20;
inline constexpr size_t kModelBytes = 40;
// Bytes of data in a command capsule; the default of --in-capsule.
inline constexpr uint32_t kDefaultInCapsule = 4096;
inline constexpr uint32_t kMaxInCapsule = 64 << 10;
// On the admin queue: the data of Connect.
inline constexpr uint32_t kAdminInCapsule = sizeof(nvme::ConnectData);
// Identify WCTEMP, in kelvins; also the default of the over-temperature threshold.
inline constexpr uint16_t kWarningKelvin = 273 + 70;
// Identify KAS: the keep-alive timer counts in 100 ms.
inline constexpr uint16_t kKeepAliveGranularity = 1;
// For a discovery controller whose host requests no keep-alive, so that an abandoned one ends.
inline constexpr uint32_t kDiscoveryKeepAliveMs = 120'000;
// The most bytes that one queue reads in place at once, because writers of the same blocks wait
// meanwhile. Beyond it, reads are copied.
inline constexpr uint64_t kMaxGathered = 4 << 20;
// A queue whose reads in place take longer, while writers wait, is dropped.
inline constexpr Nanoseconds kGatherPatience = std::chrono::milliseconds(500);
// A connection that has not sent its Connect command by then is dropped.
inline constexpr Nanoseconds kConnectTimeout = std::chrono::seconds(5);
// A connection whose host does not complete its authentication in this time is dropped. Large DH
// groups take long on the host too, with many queues at once.
inline constexpr Nanoseconds kProofTimeout = std::chrono::seconds(30);
// The largest data of an Authentication Send or Receive; hosts offer more room than they need.
inline constexpr uint32_t kMaxProofBytes = 64 << 10;
// A connection that has sent this many commands without a successful Connect, and authentication
// where it is required, is dropped too.
inline constexpr uint32_t kMaxEarlyCommands = 16;

}  // namespace mrpool::nvmf_target
