// The limits of the provider's device, each in one place.
#pragma once

#include <chrono>
#include <cstdint>

namespace mrpool::provider {

inline constexpr char kDeviceName[] = "uiwarp0";
// In /dev/infiniband, where it does not exist.
inline constexpr char kDeviceFile[] = "uverbs-mrpool";
// Nobody's: no vendor has an OUI of zeros followed by these letters ("mr").
inline constexpr uint32_t kVendorId = 0x6d72;
inline constexpr uint32_t kMaxCqEntries = 1 << 20;
inline constexpr int kMaxObjects = 1 << 16;       // Cqs, Srqs, Pds: reported, not enforced
inline constexpr uint32_t kMaxInline = 1024;      // bytes of one inline send
inline constexpr uint32_t kMinInline = 64;        // granted to those who ask for less, as NICs do
inline constexpr int kMaxReadsOutstanding = 128;  // in each direction
inline constexpr uint16_t kDefaultReads = 16;     // where the program named none
inline constexpr int kQpsPerListener = 256;       // a QP number is a TCP port and one byte
inline constexpr int kGids = 16;

// A QP that the program moved to RTR waits that long for its peer to get there.
inline constexpr std::chrono::hours kRendezvousTime{1};
inline constexpr std::chrono::seconds kConnectTime{10};
// ibv_destroy_qp and the end of the process let connections close in good order, so that what was
// sent arrives, and wait that long for a peer that does not answer.
inline constexpr std::chrono::seconds kCloseTime{1};
inline constexpr unsigned kCloseStep = 50;  // microseconds between two looks
// The end of a connection is announced when the program has polled what succeeded before it, and
// after this time to a program that does not poll.
inline constexpr std::chrono::seconds kUnpolledTime{1};

}  // namespace mrpool::provider
