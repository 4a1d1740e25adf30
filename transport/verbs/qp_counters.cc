#include "transport/verbs/qp_counters.h"

namespace mrpool::verbs {

void QpCounters::succeeded(Opcode opcode, uint64_t length) {
  switch (opcode) {
    case Opcode::kSendWithImm:
      immediates_sent.add();
      [[fallthrough]];
    case Opcode::kSend:
    case Opcode::kSendWithInv:
      sends.count(length);
      break;
    case Opcode::kRdmaWriteWithImm:
      immediates_sent.add();
      [[fallthrough]];
    case Opcode::kRdmaWrite:
      writes.count(length);
      break;
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      reads.count(length);
      break;
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      atomics.count(length);
      break;
    case Opcode::kRecvWithImm:
      immediates_received.add();
      [[fallthrough]];
    case Opcode::kRecv:
      receives.count(length);
      break;
    case Opcode::kRecvRdmaWithImm:
      immediates_received.add();  // its WRITE is not seen, as none is
      break;
    case Opcode::kRegMr:
    case Opcode::kLocalInv:
      break;
  }
}

void QpCounters::gave_up(ibv_wc_status status) {
  if (status == IBV_WC_RETRY_EXC_ERR) retries_exceeded.add();
  if (status == IBV_WC_RNR_RETRY_EXC_ERR) receiver_not_ready_retries_exceeded.add();
}

TransportStatistics zero_statistics() {
  TransportStatistics zero = not_counted();
  // The sum of no Qps: whatever snapshot() fills is 0.
  merge(zero, QpCounters().snapshot());
  zero.connections_rejected = 0;
  return zero;
}

TransportStatistics QpCounters::snapshot() const {
  TransportStatistics out = not_counted();
  out.connections_opened = opened.value();
  for (size_t i = 0; i < ended.size(); ++i) {
    out.*ended_counter(static_cast<DisconnectReason>(i)) = ended[i].value();
  }
  out.send_messages_sent = sends.messages.value();
  out.send_bytes_sent = sends.bytes.value();
  out.write_messages_sent = writes.messages.value();
  out.write_bytes_sent = writes.bytes.value();
  out.read_response_messages_received = reads.messages.value();
  out.read_response_bytes_received = reads.bytes.value();
  out.send_messages_received = receives.messages.value();
  out.send_bytes_received = receives.bytes.value();
  out.atomic_responses_received = atomics.messages.value();
  out.immediates_sent = immediates_sent.value();
  out.immediates_received = immediates_received.value();
  for (size_t i = 1; i < completions.size(); ++i) {
    out.*failed_counter(static_cast<WcStatus>(i)) = completions[i].value();
  }
  out.retries_exceeded = retries_exceeded.value();
  out.receiver_not_ready_retries_exceeded = receiver_not_ready_retries_exceeded.value();
  return out;
}

}  // namespace mrpool::verbs
