// What mrpool-run hands to the provider through the environment.
//
// Thread safety: pure.
#pragma once

#include <cstdlib>
#include <string_view>

namespace mrpool::provider {

// Value "relaxed": every region is relaxed, as on a NIC that is set to force it. Anything else:
// each region is strict unless the program asked for IBV_ACCESS_RELAXED_ORDERING.
inline constexpr char kOrderingVariable[] = "MRPOOL_VERBS_ORDERING";
// Value "acknowledged": a SEND or WRITE completes when the peer has its bytes or has refused them.
// Anything else: when its bytes are on their way, which is a round trip sooner.
inline constexpr char kCompletionsVariable[] = "MRPOOL_VERBS_COMPLETIONS";
// Value "iwarp": the device is an iWARP NIC to programs and to peers. Anything else: it is like
// RoCE to programs, and peers are other mrpool processes of that kind.
inline constexpr char kIdentityVariable[] = "MRPOOL_VERBS_IDENTITY";
// Value "off": connections do without MPA's CRC (RFC 5044, section 6) unless the peer asks for it.
// Anything else: with it.
inline constexpr char kCrcVariable[] = "MRPOOL_VERBS_CRC";
// Value "1": what ran is written to standard error at exit.
inline constexpr char kStatsVariable[] = "MRPOOL_VERBS_STATS";
// The file that gets what connections read and write (pcap_format.h); empty: none. And the process
// that mrpool-run becomes.
inline constexpr char kPcapVariable[] = "MRPOOL_VERBS_PCAP";
inline constexpr char kPcapFirstVariable[] = "MRPOOL_VERBS_PCAP_FIRST";

inline constexpr std::string_view kRelaxed = "relaxed";
inline constexpr std::string_view kAsAsked = "as-asked";
inline constexpr std::string_view kAcknowledged = "acknowledged";
inline constexpr std::string_view kSent = "sent";
inline constexpr std::string_view kRoce = "roce";
inline constexpr std::string_view kIwarp = "iwarp";
inline constexpr std::string_view kOn = "on";
inline constexpr std::string_view kOff = "off";

// Asked before there is an engine, too.
inline bool is_iwarp() {
  const char* identity = std::getenv(kIdentityVariable);
  return identity != nullptr && kIwarp == identity;
}

}  // namespace mrpool::provider
