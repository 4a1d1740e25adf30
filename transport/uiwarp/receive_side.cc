#include "transport/uiwarp/receive_side.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/uiwarp/atomic_target.h"
#include "transport/uiwarp/key_error.h"
#include "transport/uiwarp/peer_observer.h"

namespace mrpool::uiwarp {

ReceiveSide::ReceiveSide(QpState& state, ReadOwner& owner, UiwarpCq& cq, const QpOptions& options,
                         RecvQueue* shared)
    : state_(state),
      owner_(owner),
      cq_(&cq),
      own_receives_(shared != nullptr ? 0 : options.max_recv_wr,
                    std::max(options.max_recv_sge, 1u)),
      receives_(shared != nullptr ? *shared : own_receives_),
      shared_(shared != nullptr),
      may_wait_(options.receive_wait > Nanoseconds::zero()) {}

PostStatus ReceiveSide::post(const RecvRequest& chain) {
  if (shared_) return PostStatus::kUnsupported;
  return receives_.post(chain, state_.keys, state_.user);
}

void ReceiveSide::flush() {
  const WorkCompletion flushed{
      .status = WcStatus::kFlushed, .opcode = Opcode::kRecv, .qp = &state_.qp};
  if (receiving_) complete_receive(flushed);
  if (shared_) return;  // what others may still take stays posted
  while (!receives_.empty()) {
    receives_.take(receive_);
    complete_receive(flushed);
  }
}

void ReceiveSide::complete_receive(const WorkCompletion& wc) {
  receiving_ = false;
  if (wc.status != WcStatus::kSuccess) state_.counters.completed(wc.status);
  if (receive_.completion != nullptr) cq_->push(receive_.completion, wc, state_.placement.here());
}

// The segment that is coming in is refused; its header goes into the Terminate.
bool ReceiveSide::refuse(const TerminateCode& code, const std::optional<ReadRequest>& read) {
  state_.fail({.code = code,
               .segment_bytes = static_cast<uint16_t>(segment_.bytes() + payload_),
               .segment = segment_,
               .read = read});
  return false;
}

bool ReceiveSide::refuse_key(KeyError error, const TerminateCode& code,
                             const std::optional<ReadRequest>& read) {
  state_.counters.refused(error);
  return refuse(code, read);
}

void ReceiveSide::violation(const TerminateCode& code) {
  if (code == term::kMpaCrc) state_.counters.crc_errors.add();
  state_.fail({.code = code});
}

bool ReceiveSide::empty_fpdu() {
  if (state_.agreement.rtr != Rtr::kZeroLength || state_.gate_open) {
    violation(term::kMpaLength);
    return false;
  }
  state_.gate_open = true;
  state_.counters.empty_fpdus_received.add();
  return true;
}

bool ReceiveSide::begin(const SegmentHeader& header, size_t payload) {
  segment_ = header;
  payload_ = payload;
  landing_ = Landing::kNothing;
  if (header.ddp_version != 1) {
    return refuse(header.tagged ? term::kTaggedDdpVersion : term::kUntaggedDdpVersion);
  }
  if (header.rdmap_version != 1) return refuse(term::kRdmapVersion);
  const bool tagged_kind =
      header.kind == MessageKind::kWrite || header.kind == MessageKind::kReadResponse;
  const MessageKind last_kind =
      state_.agreement.extensions ? MessageKind::kAtomicResponse : MessageKind::kTerminate;
  if (header.kind > last_kind || header.tagged != tagged_kind) {
    return refuse(term::kUnexpectedOpcode);
  }
  switch (header.kind) {
    case MessageKind::kWrite:
      return begin_write(payload);
    case MessageKind::kReadResponse:
      return begin_response(header, payload);
    case MessageKind::kReadRequest:
      return begin_request(header, payload, kReadRequestBytes);
    case MessageKind::kTerminate:
      return begin_control(header, payload);
    case MessageKind::kImmediate:
    case MessageKind::kImmediateSe:
      return begin_immediate(header, payload);
    case MessageKind::kAtomicRequest:
      return begin_request(header, payload, kAtomicRequestBytes);
    case MessageKind::kAtomicResponse:
      return begin_atomic_response(header, payload);
    default:
      return begin_send(header, payload);
  }
}

bool ReceiveSide::begin_write(size_t payload) {
  if (payload == 0) return true;  // names no byte, so its key is not looked at (RFC 5040 §5.1)
  landing_ = Landing::kWrite;
  KeyRange range;
  const KeyError error = observed(tagged_range(0, payload, range),
                                  {segment_.stag, segment_.offset, payload, Access::kRemoteWrite});
  return error == KeyError::kNone || refuse_key(error, tagged_error(error));
}

bool ReceiveSide::begin_response(const SegmentHeader& header, size_t payload) {
  if (state_.own_reads.empty() || state_.own_reads.oldest().atomic) {
    return refuse(term::kUnexpectedOpcode);
  }
  const OwnReads::Read& read = state_.own_reads.oldest();
  // Responses come in the order of the requests and each from its first byte to its last.
  if (payload > 0 && header.stag != read.stag) return refuse(term::kTaggedInvalidStag);
  if (payload > read.length - read.received ||
      (payload > 0 && header.offset != read.offset + read.received)) {
    return refuse(term::kTaggedBounds);
  }
  if (header.last && read.received + payload != read.length) return refuse(term::kTaggedBounds);
  landing_ = Landing::kResponse;
  if (payload == 0) return true;
  KeyRange range;
  const KeyError error = tagged_range(0, payload, range);
  PeerObserver* const observer = PeerObserver::get();
  if (observer != nullptr && read.received == 0) [[unlikely]]
    observer->response_begins(state_.qp);
  if (error == KeyError::kNone) return true;
  if (read.slot != OwnReads::kReadyRead) owner_.read_refused(read.slot);
  return refuse_key(error, tagged_error(error));
}

bool ReceiveSide::begin_send(const SegmentHeader& header, size_t payload) {
  if (header.queue != kSendQueue) return refuse(term::kUntaggedQueue);
  if (header.msn != expected_send_msn_) return refuse(term::kUntaggedMsnRange);
  if (!receiving_) {
    if (!take_receive(header.mo)) return false;
    if (!receiving_) return true;
  }
  if (header.mo != received_) return refuse(term::kUntaggedOffset);
  if (payload > receive_.bytes - received_) {
    complete_receive({.status = WcStatus::kLocalLength, .opcode = Opcode::kRecv, .qp = &state_.qp});
    return refuse(term::kUntaggedTooLong);
  }
  landing_ = Landing::kReceive;
  return true;
}

// A message that needs a receive begins at `mo`. False: refused, or it waits. Where receiving_ is
// still false it lands nowhere: this side closes.
bool ReceiveSide::take_receive(uint32_t mo) {
  // See end_send(); nor does the rest of it land where a receive is posted meanwhile.
  if (state_.closing && (receives_.empty() || mo != 0)) return true;
  if (receives_.empty()) {
    waiting_ = may_wait_;
    if (!waiting_) give_up();
    return false;
  }
  receives_.take(receive_);
  if (shared_) receives_.taken();
  receiving_ = true;
  received_ = 0;
  if (PeerObserver* observer = PeerObserver::get()) [[unlikely]] {
    observer->receive_begins(receive_.completion);
  }
  return true;
}

void ReceiveSide::give_up() {
  waiting_ = false;
  state_.counters.receives_missing.add();
  refuse(term::kUntaggedNoBuffer);
}

// Of a SEND it is the last segment. Otherwise it is a message of its own, after a WRITE.
bool ReceiveSide::begin_immediate(const SegmentHeader& header, size_t payload) {
  if (!check_control(header, payload, kSendQueue, expected_send_msn_, kImmediateBytes)) {
    return false;
  }
  immediate_of_send_ = receiving_;
  if (!receiving_ && !take_receive(header.mo)) return false;
  if (receiving_ && header.mo != received_) return refuse(term::kUntaggedOffset);
  landing_ = Landing::kControl;
  return true;
}

// A message of one segment of that many bytes, the next one of its queue.
bool ReceiveSide::check_control(const SegmentHeader& header, size_t payload, uint32_t queue,
                                uint32_t msn, size_t bytes) {
  if (header.queue != queue) return refuse(term::kUntaggedQueue);
  if (header.msn != msn) return refuse(term::kUntaggedMsnRange);
  if (header.mo != 0 && queue != kSendQueue) return refuse(term::kUntaggedOffset);
  if (payload != bytes || !header.last) return refuse(term::kUntaggedTooLong);
  return true;
}

// Of a READ or an atomic.
bool ReceiveSide::begin_request(const SegmentHeader& header, size_t payload, size_t bytes) {
  if (!check_control(header, payload, kReadQueue, expected_read_msn_, bytes)) return false;
  if (state_.peer_reads.full() && !state_.closing) {
    state_.counters.read_requests_over_limit.add();
    return refuse(term::kUntaggedNoBuffer);
  }
  landing_ = Landing::kControl;
  return true;
}

bool ReceiveSide::begin_atomic_response(const SegmentHeader& header, size_t payload) {
  if (state_.own_reads.empty() || !state_.own_reads.oldest().atomic) {
    return refuse(term::kUnexpectedOpcode);
  }
  landing_ = Landing::kControl;
  return check_control(header, payload, kAtomicResponseQueue, expected_atomic_response_msn_,
                       kAtomicResponseBytes);
}

// A Terminate.
bool ReceiveSide::begin_control(const SegmentHeader& header, size_t payload) {
  if (header.queue != kTerminateQueue) return refuse(term::kUntaggedQueue);
  if (header.msn != 1) return refuse(term::kUntaggedMsnRange);
  if (header.mo != 0) return refuse(term::kUntaggedOffset);
  if (payload > kMaxTerminateBytes) return refuse(term::kUntaggedTooLong);
  landing_ = Landing::kControl;
  return true;
}

KeyError ReceiveSide::tagged_range(size_t offset, size_t bytes, KeyRange& range) const {
  // Never wraps: begin() looked the whole payload up first, and that includes this sum.
  if (offset > 0 && segment_.offset > ~uint64_t{0} - offset) return KeyError::kWrap;
  const uint64_t to = segment_.offset + offset;
  const KeyError error = landing_ == Landing::kWrite
                             ? state_.keys.resolve_remote(segment_.stag, to, bytes,
                                                          Access::kRemoteWrite, state_.user, range)
                             : state_.keys.resolve_sink(segment_.stag, to, bytes,
                                                        Access::kLocalWrite | Access::kRemoteWrite,
                                                        state_.user, range);
  if (error == KeyError::kNone && !bases_live(range, bytes)) return KeyError::kInvalid;
  return error;
}

// Calls visit(range, bytes) for the parts of the receive's scatter list that hold
// [received_ + offset, + bytes). False when one of its keys has ended.
template <typename Visit>
bool ReceiveSide::visit_receive(size_t offset, size_t bytes, Visit&& visit) {
  size_t skip = received_ + offset;
  for (uint32_t i = 0; i < receive_.sge_count && bytes > 0; ++i) {
    const Sge& sge = receive_.sges[i];
    if (skip >= sge.length) {
      skip -= sge.length;
      continue;
    }
    const auto part = static_cast<uint32_t>(std::min<size_t>(sge.length - skip, bytes));
    KeyRange range;
    if (state_.keys.resolve_local({sge.addr + skip, part, sge.lkey}, Access::kLocalWrite,
                                  state_.user, range) != KeyError::kNone) {
      return false;
    }
    if (!visit(range, part)) return false;
    skip = 0;
    bytes -= part;
  }
  return true;
}

size_t ReceiveSide::landing(size_t offset, size_t bytes, std::span<iovec> out) {
  size_t count = 0;
  if (landing_ == Landing::kReceive) {
    visit_receive(offset, bytes, [&](const KeyRange& range, size_t part) {
      return state_.placement.direct(range, part, out, count) == part;
    });
    return count;
  }
  if (landing_ != Landing::kWrite && landing_ != Landing::kResponse) return 0;
  KeyRange range;
  if (tagged_range(offset, bytes, range) != KeyError::kNone) return 0;
  state_.placement.direct(range, bytes, out, count);
  return count;
}

bool ReceiveSide::place(size_t offset, const std::byte* from, size_t bytes) {
  switch (landing_) {
    case Landing::kControl:
      std::memcpy(control_.data() + offset, from, bytes);
      return true;
    case Landing::kReceive:
      return place_receive(offset, from, bytes);
    case Landing::kWrite:
    case Landing::kResponse:
      return place_tagged(offset, from, bytes);
    case Landing::kNothing:
      break;
  }
  return true;
}

bool ReceiveSide::place_receive(size_t offset, const std::byte* from, size_t bytes) {
  const bool placed = visit_receive(offset, bytes, [&](const KeyRange& range, size_t part) {
    if (!state_.placement.copy(range, from, part, payload_, Placement::Kind::kReceive))
      return false;
    from += part;
    return true;
  });
  if (placed) return true;
  complete_receive(
      {.status = WcStatus::kLocalProtection, .opcode = Opcode::kRecv, .qp = &state_.qp});
  state_.local_fault = true;
  return refuse(term::kLocalCatastrophic);
}

bool ReceiveSide::place_tagged(size_t offset, const std::byte* from, size_t bytes) {
  KeyRange range;
  const KeyError error = tagged_range(offset, bytes, range);
  if (error != KeyError::kNone) return refuse_key(error, tagged_error(error));
  state_.placement.copy(
      range, from, bytes, payload_,
      landing_ == Landing::kWrite ? Placement::Kind::kWrite : Placement::Kind::kReadResponse);
  return true;
}

bool ReceiveSide::end() {
  // Whatever the initiator sends first makes the responder ready to send.
  state_.gate_open = true;
  state_.counters.received.count(segment_, payload_);
  switch (segment_.kind) {
    case MessageKind::kWrite:
      write_bytes_ += static_cast<uint32_t>(payload_);
      if (segment_.last) last_write_bytes_ = std::exchange(write_bytes_, 0);
      return true;
    case MessageKind::kImmediate:
    case MessageKind::kImmediateSe:
      return end_immediate();
    case MessageKind::kAtomicRequest:
      return end_atomic_request();
    case MessageKind::kAtomicResponse:
      return end_atomic_response();
    case MessageKind::kReadResponse:
      return end_response();
    case MessageKind::kReadRequest:
      return end_read_request();
    case MessageKind::kTerminate:
      return end_terminate();
    default:
      return end_send();
  }
}

bool ReceiveSide::end_response() {
  OwnReads& reads = state_.own_reads;
  reads.came(static_cast<uint32_t>(payload_));
  if (!segment_.last) return true;
  const uint32_t slot = reads.oldest().slot;
  reads.finish_oldest();
  if (slot != OwnReads::kReadyRead) owner_.read_answered(slot);
  return true;
}

bool ReceiveSide::end_send() {
  if (!receiving_) {  // closing: dropped
    if (segment_.last) ++expected_send_msn_;
    return true;
  }
  received_ += static_cast<uint32_t>(payload_);
  if (!segment_.last) return true;
  ++expected_send_msn_;
  WorkCompletion wc{.opcode = Opcode::kRecv,
                    .solicited = solicits(segment_.kind),
                    .byte_len = received_,
                    .qp = &state_.qp};
  if (invalidates(segment_.kind)) {
    KeySlot* key = state_.keys.slot_of(segment_.invalidate);
    const bool mine = key != nullptr && segment_.invalidate != 0 &&
                      key->live.load(std::memory_order_acquire) == segment_.invalidate &&
                      key->qp.load(std::memory_order_relaxed) == state_.user.qp;
    if (!mine) {
      state_.counters.invalidations_refused.add();
      complete_receive(
          {.status = WcStatus::kRemoteInvalidRequest, .opcode = Opcode::kRecv, .qp = &state_.qp});
      return refuse(term::kCannotInvalidate);
    }
    KeyTable::close(*key);
    wc.invalidated = true;
    wc.invalidated_rkey = {segment_.invalidate};
  }
  complete_receive(wc);
  return true;
}

bool ReceiveSide::end_immediate() {
  ++expected_send_msn_;
  if (immediate_of_send_) state_.counters.sends_with_immediate_received.add();
  if (!receiving_) return true;  // closing: dropped
  complete_receive({.opcode = immediate_of_send_ ? Opcode::kRecvWithImm : Opcode::kRecvRdmaWithImm,
                    .solicited = solicits(segment_.kind),
                    .byte_len = immediate_of_send_ ? received_ : last_write_bytes_,
                    .imm = decode_immediate(control_.data()),
                    .qp = &state_.qp});
  return true;
}

bool ReceiveSide::end_atomic_request() {
  if (state_.closing) {
    ++expected_read_msn_;
    return true;
  }
  const AtomicRequest request = decode_atomic_request(control_.data());
  if (!known(request.code)) return refuse(term::kUnexpectedOpcode);
  std::byte* at = nullptr;
  const AtomicTarget target = find_atomic_target(state_.keys, state_.user, request, at);
  const PeerAccess access{request.stag, request.offset, kAtomicBytes, Access::kRemoteAtomic};
  if (observed(target.error, access) != KeyError::kNone) {
    return refuse_key(target.error, target.code());
  }
  if (target.misplaced) return refuse(target.code());
  state_.peer_reads.add(request, expected_read_msn_++);
  state_.counters.peer_reads_outstanding_max.raise(state_.peer_reads.count());
  return true;
}

bool ReceiveSide::end_atomic_response() {
  const AtomicResponse response = decode_atomic_response(control_.data());
  OwnReads& reads = state_.own_reads;
  const uint32_t slot = reads.oldest().slot;
  if (response.id != reads.oldest().msn) return refuse(term::kStreamCatastrophic);
  ++expected_atomic_response_msn_;
  KeyRange range;
  std::array<std::byte, kAtomicBytes> value;
  std::memcpy(value.data(), &response.original, sizeof response.original);
  if (state_.keys.resolve_local(owner_.atomic_sink(slot), Access::kLocalWrite, state_.user,
                                range) != KeyError::kNone ||
      !state_.placement.copy(range, value.data(), value.size(), value.size(),
                             Placement::Kind::kReadResponse)) {
    owner_.read_refused(slot);
    state_.local_fault = true;
    return refuse(term::kLocalCatastrophic);
  }
  reads.came(kAtomicBytes);
  reads.finish_oldest();
  owner_.read_answered(slot);
  return true;
}

bool ReceiveSide::end_read_request() {
  if (state_.closing) {
    ++expected_read_msn_;
    return true;
  }
  const ReadRequest request = decode_read_request(control_.data());
  if (request.length > 0) {
    KeyRange range;
    const PeerAccess access{request.source_stag, request.source_offset, request.length,
                            Access::kRemoteRead};
    const KeyError error =
        observed(state_.keys.resolve_remote(access.stag, access.offset, access.bytes, access.right,
                                            state_.user, range),
                 access);
    if (error != KeyError::kNone) return refuse_key(error, source_error(error), request);
  }
  state_.peer_reads.add(request, expected_read_msn_++);
  state_.counters.peer_reads_outstanding_max.raise(state_.peer_reads.count());
  return true;
}

bool ReceiveSide::end_terminate() {
  state_.peer_terminate = decode_terminate({control_.data(), payload_});
  if (!state_.peer_terminate)
    state_.peer_terminate = Terminate{.code = term::kOperationUnspecified};
  state_.counters.terminate_received.set(state_.peer_terminate->code);
  owner_.peer_terminated(*state_.peer_terminate);
  return false;
}

}  // namespace mrpool::uiwarp
