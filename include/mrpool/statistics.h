// What a transport counts: connections, messages, refusals and errors, of one Qp or of a device.
//
// Qp::statistics() and Device::statistics() return a snapshot, a plain struct. Every counter starts
// at zero and only grows for as long as its Qp or Device lives. A device counts the Qps that ended,
// too. A counter that a transport cannot see holds kNotCounted; the visitor leaves it out.
//
// PdStatistics counts what was made from a Pd, MrPoolStats (mrpool/mr_pool.h) what a pool did. Each
// has a to_text().
//
// Units: the unit is in the name (`_bytes_`, `_segments_`, `_messages_`); other counters count
// events. A message is one SEND, RDMA WRITE, READ request or READ response. A segment is one DDP
// segment (RFC 5041); on uiwarp each travels in one FPDU (RFC 5044). Bytes are payload: no header,
// padding or CRC.
//
// To add a counter, add one line to MRPOOL_TRANSPORT_COUNTERS: the field, its name and its text
// follow from it. Then count the event where it happens.
//
// Thread safety: values; the functions are pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mrpool {

// X(name, how two values are merged, what it counts)
#define MRPOOL_TRANSPORT_COUNTERS(X)                                                             \
  /* Connections. A connection ends once, for one of the reasons of mrpool::DisconnectReason. */ \
  X(connections_opened, kSum, "connections that reached the connected state")                    \
  X(connections_rejected, kSum, "connection requests of peers that the program rejected")        \
  X(connections_dropped, kSum, "incoming connections without a valid request in time")           \
  X(connections_ended_local, kSum, "connections closed by this side")                            \
  X(connections_ended_peer, kSum, "connections closed by the peer in good order")                \
  X(connections_ended_reset, kSum, "connections that broke")                                     \
  X(connections_ended_terminated, kSum, "connections that a Terminate of the peer ended")        \
  X(connections_ended_protocol, kSum, "connections ended by a protocol error of the peer")       \
  X(connections_ended_rejected, kSum, "connections that the peer rejected")                      \
  X(connections_ended_timeout, kSum, "connections that the peer did not answer in time")         \
  X(connections_ended_refused, kSum, "connections to where nobody listens")                      \
  X(connections_ended_unresolved, kSum, "connections to a host without an address")              \
  X(connections_ended_unreachable, kSum, "connections to where no way leads")                    \
  X(connections_ended_fault, kSum, "connections that a failure of this side ended")              \
  /* Messages. A message counts with its last segment. */                                        \
  X(send_messages_sent, kSum, "SENDs sent")                                                      \
  X(send_segments_sent, kSum, "segments of SENDs sent")                                          \
  X(send_bytes_sent, kSum, "payload bytes of SENDs sent")                                        \
  X(send_messages_received, kSum, "SENDs received")                                              \
  X(send_segments_received, kSum, "segments of SENDs received")                                  \
  X(send_bytes_received, kSum, "payload bytes of SENDs received")                                \
  X(write_messages_sent, kSum, "RDMA WRITEs sent")                                               \
  X(write_segments_sent, kSum, "segments of RDMA WRITEs sent")                                   \
  X(write_bytes_sent, kSum, "payload bytes of RDMA WRITEs sent")                                 \
  X(write_messages_received, kSum, "RDMA WRITEs of the peer that were placed")                   \
  X(write_segments_received, kSum, "segments of the peer's RDMA WRITEs")                         \
  X(write_bytes_received, kSum, "payload bytes of the peer's RDMA WRITEs")                       \
  X(read_requests_sent, kSum, "RDMA READ requests sent")                                         \
  X(read_requests_received, kSum, "RDMA READ requests of the peer that were accepted")           \
  X(read_response_messages_sent, kSum, "RDMA READs of the peer that were answered")              \
  X(read_response_segments_sent, kSum, "segments of READ responses sent")                        \
  X(read_response_bytes_sent, kSum, "payload bytes of READ responses sent")                      \
  X(read_response_messages_received, kSum, "RDMA READs of this side that were answered")         \
  X(read_response_segments_received, kSum, "segments of READ responses received")                \
  X(read_response_bytes_received, kSum, "payload bytes of READ responses received")              \
  X(immediates_sent, kSum, "SENDs and RDMA WRITEs with immediate data sent")                     \
  X(immediates_received, kSum, "SENDs and RDMA WRITEs with immediate data received")             \
  X(atomic_requests_sent, kSum, "atomic operations sent")                                        \
  X(atomic_requests_received, kSum, "atomic operations of the peer that were accepted")          \
  X(atomic_responses_sent, kSum, "atomic operations of the peer that were answered")             \
  X(atomic_responses_received, kSum, "atomic operations of this side that were answered")        \
  X(fpdus_sent, kSum, "FPDUs built for the stream")                                              \
  X(fpdus_received, kSum, "FPDUs received that were carried out")                                \
  X(reads_outstanding_max, kMaximum, "most READs of one Qp outstanding at a time (limit: ord)")  \
  X(peer_reads_outstanding_max, kMaximum, "most READs of one peer unanswered (limit: ird)")      \
  /* Requests of the program that failed, by the status of their completion. */                  \
  X(failed_local_length, kSum, "completions with kLocalLength")                                  \
  X(failed_local_protection, kSum, "completions with kLocalProtection")                          \
  X(failed_flushed, kSum, "completions with kFlushed")                                           \
  X(failed_bind, kSum, "completions with kBind")                                                 \
  X(failed_remote_invalid_request, kSum, "completions with kRemoteInvalidRequest")               \
  X(failed_remote_access, kSum, "completions with kRemoteAccess")                                \
  X(failed_remote_operation, kSum, "completions with kRemoteOperation")                          \
  X(failed_transport, kSum, "completions with kTransport")                                       \
  X(retries_exceeded, kSum, "requests that the device gave up after its retries")                \
  X(receiver_not_ready_retries_exceeded, kSum, "SENDs given up: the peer posted no receive")     \
  /* What this side found wrong with the peer; each ends the connection. */                      \
  X(crc_errors, kSum, "FPDUs with a wrong CRC")                                                  \
  X(key_refusals_invalid, kSum, "accesses refused: no such key, or its life is over")            \
  X(key_refusals_not_associated, kSum, "accesses refused: the key is of another Pd or Qp")       \
  X(key_refusals_access, kSum, "accesses refused: the key does not give the right")              \
  X(key_refusals_bounds, kSum, "accesses refused: outside the key's range")                      \
  X(key_refusals_wrap, kSum, "accesses refused: address plus length wraps")                      \
  X(key_refusals_invalidate, kSum, "SENDs with invalidate refused: not a key of this Qp")        \
  X(receives_missing, kSum,                                                                      \
    "messages refused: no receive was posted, or none within receive_wait")                      \
  X(read_requests_over_limit, kSum, "READ requests beyond the agreed ird")                       \
  /* Terminates, by code. */                                                                     \
  MRPOOL_TERMINATE_CODES(MRPOOL_TERMINATE_COUNTERS_)

// X(name, layer, error type, error code, text): RFC 5040 §4.8 (layer 0, RDMAP), RFC 5041 §7 (layer
// 1, DDP), RFC 5044 §8 and RFC 6581 §7 (layer 2, MPA). The last one stands for all others.
#define MRPOOL_TERMINATE_CODES(X)                                                                  \
  X(local_catastrophic, 0, 0, 0x00, "local catastrophic error")                                    \
  X(read_invalid_stag, 0, 1, 0x00, "remote protection error: invalid STag")                        \
  X(read_bounds, 0, 1, 0x01, "remote protection error: base or bounds violation")                  \
  X(access, 0, 1, 0x02, "remote protection error: access rights violation")                        \
  X(read_not_associated, 0, 1, 0x03,                                                               \
    "remote protection error: STag not associated with the stream")                                \
  X(read_offset_wrap, 0, 1, 0x04, "remote protection error: tagged offset wraps")                  \
  X(cannot_invalidate, 0, 1, 0x09, "remote protection error: STag cannot be invalidated")          \
  X(protection_unspecified, 0, 1, 0xff, "remote protection error")                                 \
  X(rdmap_version, 0, 2, 0x05, "remote operation error: invalid RDMAP version")                    \
  X(unexpected_opcode, 0, 2, 0x06, "remote operation error: unexpected opcode")                    \
  X(stream_catastrophic, 0, 2, 0x07, "remote operation error: catastrophic for this stream")       \
  X(operation_unspecified, 0, 2, 0xff, "remote operation error")                                   \
  X(tagged_invalid_stag, 1, 1, 0x00, "tagged buffer error: invalid STag")                          \
  X(tagged_bounds, 1, 1, 0x01, "tagged buffer error: base or bounds violation")                    \
  X(tagged_not_associated, 1, 1, 0x02, "tagged buffer error: STag not associated with the stream") \
  X(tagged_offset_wrap, 1, 1, 0x03, "tagged buffer error: tagged offset wraps")                    \
  X(tagged_ddp_version, 1, 1, 0x04, "tagged buffer error: invalid DDP version")                    \
  X(untagged_queue, 1, 2, 0x01, "untagged buffer error: invalid queue number")                     \
  X(untagged_no_buffer, 1, 2, 0x02, "untagged buffer error: no buffer available")                  \
  X(untagged_msn_range, 1, 2, 0x03, "untagged buffer error: MSN range is not valid")               \
  X(untagged_offset, 1, 2, 0x04, "untagged buffer error: invalid message offset")                  \
  X(untagged_too_long, 1, 2, 0x05, "untagged buffer error: message too long for the buffer")       \
  X(untagged_ddp_version, 1, 2, 0x06, "untagged buffer error: invalid DDP version")                \
  X(mpa_crc, 2, 0, 0x02, "MPA error: CRC check failed")                                            \
  X(mpa_length, 2, 0, 0x03, "MPA error: length field does not fit the FPDU")                       \
  X(mpa_bad_frame, 2, 0, 0x04, "MPA error: invalid request or reply frame")                        \
  X(mpa_insufficient_ird, 2, 0, 0x06, "MPA error: insufficient inbound READ resources")            \
  X(mpa_no_matching_rtr, 2, 0, 0x07, "MPA error: no matching ready-to-receive option")             \
  X(other, 0xff, 0xff, 0xff, "unknown Terminate code")

#define MRPOOL_TERMINATE_COUNTERS_(name, layer, type, code, text)         \
  MRPOOL_COUNTER_(terminates_sent_##name, kSum, "Terminates sent: " text) \
  MRPOOL_COUNTER_(terminates_received_##name, kSum, "Terminates of the peer: " text)

// What a Qp or a device has counted; the fields are those of kTransportCounters.
struct TransportStatistics {
  // The transport does not see these events. Not zero: nobody knows whether there were any.
  static constexpr uint64_t kNotCounted = ~uint64_t{0};

#define MRPOOL_COUNTER_(name, merge, text) uint64_t name = 0;
  MRPOOL_TRANSPORT_COUNTERS(MRPOOL_COUNTER_)
#undef MRPOOL_COUNTER_

  friend bool operator==(const TransportStatistics&, const TransportStatistics&) = default;
};

// How the values of two Qps, or of two devices, become one.
enum class CounterMerge : uint8_t { kSum, kMaximum };

// A counter's name, meaning and place.
struct TransportCounter {
  std::string_view name;
  std::string_view text;  // what it counts, for people
  CounterMerge merge;
  uint64_t TransportStatistics::*value;
};

// All counters, in the order of the fields.
inline constexpr auto kTransportCounters = std::to_array<TransportCounter>({
#define MRPOOL_COUNTER_(name, merge, text) \
  {#name, text, CounterMerge::merge, &TransportStatistics::name},
    MRPOOL_TRANSPORT_COUNTERS(MRPOOL_COUNTER_)
#undef MRPOOL_COUNTER_
});
static_assert(sizeof(TransportStatistics) == kTransportCounters.size() * sizeof(uint64_t));

// A Terminate's code and its two counters. The last entry is for codes that are not in the table.
struct TerminateCounter {
  uint8_t layer;
  uint8_t error_type;
  uint8_t error_code;
  std::string_view text;
  uint64_t TransportStatistics::*sent;
  uint64_t TransportStatistics::*received;
};
inline constexpr auto kTerminateCounters = std::to_array<TerminateCounter>({
#define MRPOOL_TERMINATE_(name, layer, type, code, text) \
  {layer,                                                \
   type,                                                 \
   code,                                                 \
   text,                                                 \
   &TransportStatistics::terminates_sent_##name,         \
   &TransportStatistics::terminates_received_##name},
    MRPOOL_TERMINATE_CODES(MRPOOL_TERMINATE_)
#undef MRPOOL_TERMINATE_
});
// The counters of a Terminate's code; the last entry where the table lacks it.
constexpr const TerminateCounter& terminate_counter(uint8_t layer, uint8_t type, uint8_t code) {
  for (const TerminateCounter& each : kTerminateCounters) {
    if (each.layer == layer && each.error_type == type && each.error_code == code) return each;
  }
  return kTerminateCounters.back();
}

#undef MRPOOL_TERMINATE_COUNTERS_
#undef MRPOOL_TERMINATE_CODES
#undef MRPOOL_TRANSPORT_COUNTERS

// Calls visit(name, value) for every counter that is counted, zeros included.
template <typename Visit>
void for_each(const TransportStatistics& statistics, Visit&& visit) {
  for (const TransportCounter& counter : kTransportCounters) {
    const uint64_t value = statistics.*counter.value;
    if (value != TransportStatistics::kNotCounted) visit(counter.name, value);
  }
}

// Merges `other` into `into`. What only one of them counts has that one's value.
constexpr void merge(TransportStatistics& into, const TransportStatistics& other) {
  for (const TransportCounter& counter : kTransportCounters) {
    uint64_t& value = into.*counter.value;
    const uint64_t added = other.*counter.value;
    if (added == TransportStatistics::kNotCounted) continue;
    if (value == TransportStatistics::kNotCounted) {
      value = added;
    } else if (counter.merge == CounterMerge::kSum) {
      value += added;
    } else {
      value = std::max(value, added);
    }
  }
}

// Statistics in which nothing is counted: where a transport that sees little starts from.
constexpr TransportStatistics not_counted() {
  TransportStatistics none;
  for (const TransportCounter& counter : kTransportCounters) {
    none.*counter.value = TransportStatistics::kNotCounted;
  }
  return none;
}

// One line "NAME VALUE" for every counter that is counted, zeros included, in the order of the
// table.
std::string to_text(const TransportStatistics& statistics);

// What was made from a Pd, as Pd::statistics() returns it. X(name, text)
#define MRPOOL_PD_COUNTERS(X)                                        \
  X(regions, "regions registered now (Pd::reg_mr)")                  \
  X(regions_max, "most of them at a time")                           \
  X(region_bytes, "bytes of the regions registered now")             \
  X(regions_total, "regions registered so far")                      \
  X(regions_refused, "registrations that failed")                    \
  X(fast_mrs, "fast-registration MRs there are (Pd::alloc_fast_mr)") \
  X(fast_mrs_max, "most of them at a time")                          \
  X(srqs, "shared receive queues created so far")

// What a Pd has counted.
struct PdStatistics {
  static constexpr uint64_t kNotCounted = TransportStatistics::kNotCounted;

#define MRPOOL_COUNTER_(name, text) uint64_t name = 0;
  MRPOOL_PD_COUNTERS(MRPOOL_COUNTER_)
#undef MRPOOL_COUNTER_

  // Every counter as kNotCounted.
  static constexpr PdStatistics not_counted() {
    PdStatistics none;
#define MRPOOL_COUNTER_(name, text) none.name = kNotCounted;
    MRPOOL_PD_COUNTERS(MRPOOL_COUNTER_)
#undef MRPOOL_COUNTER_
    return none;
  }
  friend bool operator==(const PdStatistics&, const PdStatistics&) = default;
};

// Calls visit(name, value) for every counter that is counted, zeros included.
template <typename Visit>
void for_each(const PdStatistics& statistics, Visit&& visit) {
#define MRPOOL_COUNTER_(name, text) \
  if (statistics.name != PdStatistics::kNotCounted) visit(std::string_view(#name), statistics.name);
  MRPOOL_PD_COUNTERS(MRPOOL_COUNTER_)
#undef MRPOOL_COUNTER_
}
#undef MRPOOL_PD_COUNTERS

// As that of TransportStatistics.
std::string to_text(const PdStatistics& statistics);

}  // namespace mrpool
