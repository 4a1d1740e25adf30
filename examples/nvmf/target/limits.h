// Every limit of the target in one place, with its reason.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

// CAP.MQES + 1: entries of a queue, slots of a Qp.
inline constexpr uint32_t kMaxQueueEntries = 1024;
// Identify MDTS: 2^8 pages of 4 KiB.
inline constexpr uint8_t kMdts = 8;
inline constexpr uint32_t kMaxTransfer = 4096u << kMdts;
// I/O queues of one controller.
inline constexpr uint16_t kMaxIoQueues = 128;
// Identify NN. Namespaces may come and go below it.
inline constexpr uint32_t kMaxNamespaces = 1024;
// Identify AERL + 1: Asynchronous Event Requests a host may park here.
inline constexpr uint32_t kMaxAsyncEvents = 4;
// Identify ACL + 1: Aborts at once.
inline constexpr uint32_t kMaxAborts = 4;
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
// Data in a command capsule unless --in-capsule says otherwise.
inline constexpr uint32_t kDefaultInCapsule = 4096;
inline constexpr uint32_t kMaxInCapsule = 64 << 10;
// What the options of the daemon may be.
inline constexpr uint32_t kMaxThreads = 256;
inline constexpr uint32_t kMaxMrs = 1 << 20;
inline constexpr uint32_t kMaxConnections = 65536;  // of a thread
inline constexpr Nanoseconds kMaxSpin = std::chrono::seconds(1);
inline constexpr Nanoseconds kMaxStallTimeout = std::chrono::hours(1);
// Compare of the longest transfer takes two of them at once; buffers are numbered by 32 bits.
inline constexpr uint64_t kMinStaging = 2 * uint64_t{kMaxTransfer};
inline constexpr uint64_t kMaxStaging = uint64_t{8191} << 20;
// Identify WCTEMP, in kelvins; also what the over-temperature threshold is until the host sets one.
inline constexpr uint16_t kWarningKelvin = 273 + 70;
// Identify KAS: the keep-alive timer counts in 100 ms.
inline constexpr uint16_t kKeepAliveGranularity = 1;
// A controller is looked at this often for its keep-alive timer and stalled transfers.
inline constexpr Nanoseconds kTick = std::chrono::milliseconds(250);
// A connection that has not sent its Connect command by then is dropped.
inline constexpr Nanoseconds kConnectTimeout = std::chrono::seconds(5);

}  // namespace mrpool::nvmf_target
