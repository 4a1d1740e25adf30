#include "transport/uiwarp/qp_counters.h"

namespace mrpool::uiwarp {

namespace {

uint64_t segments(const SegmentCounters& counters, MessageKind kind) {
  const SegmentCounters::Kind& each = counters.kinds[static_cast<size_t>(kind)];
  return each.segments[0].value() + each.segments[1].value();
}
uint64_t messages(const SegmentCounters& counters, MessageKind kind) {
  return counters.kinds[static_cast<size_t>(kind)].segments[1].value();
}
uint64_t bytes(const SegmentCounters& counters, MessageKind kind) {
  return counters.kinds[static_cast<size_t>(kind)].bytes.value();
}

// `read` for each kind of SEND.
template <typename Read>
uint64_t of_sends(const SegmentCounters& counters, Read&& read) {
  uint64_t sum = 0;
  for (const MessageKind kind :
       {MessageKind::kSend, MessageKind::kSendInv, MessageKind::kSendSe, MessageKind::kSendSeInv}) {
    sum += read(counters, kind);
  }
  return sum;
}

uint64_t fpdus(const SegmentCounters& counters) {
  uint64_t sum = 0;
  for (const SegmentCounters::Kind& kind : counters.kinds) {
    sum += kind.segments[0].value() + kind.segments[1].value();
  }
  return sum;
}

}  // namespace

TransportStatistics zero_statistics() {
  TransportStatistics zero;
  // TCP retransmits; iWARP has no retries of its own.
  zero.retries_exceeded = TransportStatistics::kNotCounted;
  zero.receiver_not_ready_retries_exceeded = TransportStatistics::kNotCounted;
  return zero;
}

TransportStatistics QpCounters::snapshot() const {
  TransportStatistics out = zero_statistics();
  out.connections_opened = opened.value();
  for (size_t i = 0; i < ended.size(); ++i) {
    out.*ended_counter(static_cast<DisconnectReason>(i)) = ended[i].value();
  }
  out.send_messages_sent = of_sends(sent, messages) + sends_with_immediate_sent.value();
  out.send_segments_sent = of_sends(sent, segments);
  out.send_bytes_sent = of_sends(sent, bytes);
  out.send_messages_received = of_sends(received, messages) + sends_with_immediate_received.value();
  out.send_segments_received = of_sends(received, segments);
  out.send_bytes_received = of_sends(received, bytes);
  out.write_messages_sent = messages(sent, MessageKind::kWrite);
  out.write_segments_sent = segments(sent, MessageKind::kWrite);
  out.write_bytes_sent = bytes(sent, MessageKind::kWrite);
  out.write_messages_received = messages(received, MessageKind::kWrite);
  out.write_segments_received = segments(received, MessageKind::kWrite);
  out.write_bytes_received = bytes(received, MessageKind::kWrite);
  out.read_requests_sent = messages(sent, MessageKind::kReadRequest);
  out.read_requests_received = messages(received, MessageKind::kReadRequest);
  out.read_response_messages_sent = messages(sent, MessageKind::kReadResponse);
  out.read_response_segments_sent = segments(sent, MessageKind::kReadResponse);
  out.read_response_bytes_sent = bytes(sent, MessageKind::kReadResponse);
  out.read_response_messages_received = messages(received, MessageKind::kReadResponse);
  out.read_response_segments_received = segments(received, MessageKind::kReadResponse);
  out.read_response_bytes_received = bytes(received, MessageKind::kReadResponse);
  out.immediates_sent =
      messages(sent, MessageKind::kImmediate) + messages(sent, MessageKind::kImmediateSe);
  out.immediates_received =
      messages(received, MessageKind::kImmediate) + messages(received, MessageKind::kImmediateSe);
  out.atomic_requests_sent = messages(sent, MessageKind::kAtomicRequest);
  out.atomic_requests_received = messages(received, MessageKind::kAtomicRequest);
  out.atomic_responses_sent = messages(sent, MessageKind::kAtomicResponse);
  out.atomic_responses_received = messages(received, MessageKind::kAtomicResponse);
  out.fpdus_sent = fpdus(sent);
  out.fpdus_received = fpdus(received) + empty_fpdus_received.value();
  out.reads_outstanding_max = reads_outstanding_max.value();
  out.peer_reads_outstanding_max = peer_reads_outstanding_max.value();
  for (size_t i = 1; i < completions.size(); ++i) {
    out.*failed_counter(static_cast<WcStatus>(i)) = completions[i].value();
  }
  out.crc_errors = crc_errors.value();
  const auto refusals = [&](KeyError error) {
    return key_refusals[static_cast<size_t>(error)].value();
  };
  out.key_refusals_invalid = refusals(KeyError::kInvalid);
  out.key_refusals_not_associated = refusals(KeyError::kNotAssociated);
  out.key_refusals_access = refusals(KeyError::kAccess);
  out.key_refusals_bounds = refusals(KeyError::kBounds);
  out.key_refusals_wrap = refusals(KeyError::kWrap);
  out.key_refusals_invalidate = invalidations_refused.value();
  out.receives_missing = receives_missing.value();
  out.read_requests_over_limit = read_requests_over_limit.value();
  if (const TerminateCounter* counter = terminate_sent.counter()) out.*counter->sent = 1;
  if (const TerminateCounter* counter = terminate_received.counter()) out.*counter->received = 1;
  return out;
}

}  // namespace mrpool::uiwarp
