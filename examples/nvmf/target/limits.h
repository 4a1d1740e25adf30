// Every limit of the target in one place, with its reason.
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
// Identify NN. Namespaces may come and go below it.
inline constexpr uint32_t kMaxNamespaces = 1024;
// Hosts that were lost, of which is kept what they mean by their nsids.
inline constexpr size_t kMaxLostHosts = 1024;
// Identify AERL + 1: Asynchronous Event Requests a host may park here.
inline constexpr uint32_t kMaxAsyncEvents = 4;
// Identify ACL + 1: Aborts at once.
inline constexpr uint32_t kMaxAborts = 4;
// Commands of a queue that have ended while the storage still has their requests; an Abort of one
// more is answered "not aborted". Each keeps its memory, its data in a capsule too.
constexpr uint32_t most_late(uint32_t entries) { return entries < 32 ? entries : 32; }
// Twice the entries: a host may use an entry again before the Cq told that its last completion went
// out.
constexpr uint32_t most_commands(uint32_t entries) { return 2 * entries + most_late(entries); }
// Identify MSDBD: data descriptors of one command.
inline constexpr uint32_t kMaxSglDescriptors = 16;
// Identify ELPE + 1.
inline constexpr uint32_t kErrorLogEntries = 64;
// Changed Namespace List holds this many; one more and it says "all".
inline constexpr uint32_t kMaxChangedNamespaces = 1024;
// Controller ids 1..0xffef, [fab] 2.1.
inline constexpr uint16_t kMaxControllerId = 0xffef;
// Controllers of all subsystems together.
inline constexpr uint32_t kDefaultMaxControllers = 4096;
// Identify SN.
inline constexpr size_t kSerialBytes = 20;
inline constexpr size_t kModelBytes = 40;
// Data in a command capsule unless --in-capsule says otherwise.
inline constexpr uint32_t kDefaultInCapsule = 4096;
inline constexpr uint32_t kMaxInCapsule = 64 << 10;
// On the admin queue: what Connect brings.
inline constexpr uint32_t kAdminInCapsule = sizeof(nvme::ConnectData);
// Identify WCTEMP, in kelvins; also what the over-temperature threshold is until the host sets one.
inline constexpr uint16_t kWarningKelvin = 273 + 70;
// Identify KAS: the keep-alive timer counts in 100 ms.
inline constexpr uint16_t kKeepAliveGranularity = 1;
// Of a discovery controller whose host asks for no keep-alive: somebody else may want its place.
inline constexpr uint32_t kDiscoveryKeepAliveMs = 120'000;
// What one queue reads in place at once, writers of the same blocks waiting meanwhile: beyond it,
// reads are copied.
inline constexpr uint64_t kMaxGathered = 4 << 20;
// A queue whose host takes longer for what it reads in place, while writers wait, is dropped.
inline constexpr Nanoseconds kGatherPatience = std::chrono::milliseconds(500);
// A connection that has not sent its Connect command by then is dropped.
inline constexpr Nanoseconds kConnectTimeout = std::chrono::seconds(5);
// So is one that has sent so many commands without being let in.
inline constexpr uint32_t kMaxEarlyCommands = 16;

}  // namespace mrpool::nvmf_target
