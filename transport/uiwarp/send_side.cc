#include "transport/uiwarp/send_side.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "transport/uiwarp/atomic_target.h"
#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/key_error.h"
#include "transport/uiwarp/limits.h"

namespace mrpool::uiwarp {

namespace {

// Block bytes and gather entries that one segment may need.
constexpr size_t kFramingBytes = kMaxSegmentHeaderBytes + kAtomicRequestBytes + kMaxTrailerBytes;
// Pieces below this are copied into the block. So one segment has at most one entry per that many
// bytes of payload, and one for the block bytes between each two.
constexpr size_t kCopyPiece = 512;
constexpr size_t pieces_of(size_t payload) { return 2 * (payload / kCopyPiece) + 3; }

// How much of the remaining bytes the next segment takes: equal shares in whole pages, so that no
// small segment remains at the end.
uint32_t segment_of(uint32_t left) {
  if (left <= kMaxSegmentPayload) return left;
  const uint32_t segments = (left - 1) / kMaxSegmentPayload + 1;
  const uint32_t share = (left / segments + 4095) & ~4095u;
  return std::min(share, kMaxSegmentPayload);
}

bool has_room(const TxBatch& batch, uint32_t payload) {
  return batch.bytes() < kMaxBatchBytes &&
         batch.has_room(kFramingBytes + payload, pieces_of(payload));
}

}  // namespace

// The part of a message that one segment carries: looked up before a byte of the segment is built.
struct SendSide::Message {
  struct Part {
    const KeySlot* slot;
    uint64_t offset;
    uint32_t stag;
    uint32_t bytes;
    KeyRange range() const { return {slot, stag, offset}; }
  };
  std::array<Part, kMaxSges> parts;  // not initialized: most messages have one
  uint32_t count = 0;
};

// Appends one FPDU. `visit_payload(piece)` calls piece(memory, bytes) for the payload in order; its
// memory has been checked and stays while the section lasts.
template <typename Visit>
void SendSide::emit(TxBatch& batch, const SegmentHeader& header, uint32_t payload,
                    Visit&& visit_payload) {
  const size_t ulpdu = header.bytes() + payload;
  std::byte* const head = batch.add(kLengthBytes + header.bytes());
  store_be16(head, static_cast<uint16_t>(ulpdu));
  encode_segment(header, head + kLengthBytes);
  const bool crc_on = state_.agreement.crc;
  Crc32c crc;
  const bool response = header.kind == MessageKind::kReadResponse;
  if (payload <= (response ? TxBatch::kCopyResponseBytes : TxBatch::kCopyBytes)) {
    std::byte* to = batch.add(payload);
    visit_payload([&](const std::byte* from, size_t bytes) {
      std::memcpy(to, from, bytes);
      to += bytes;
      return true;
    });
    // The payload follows the header in the block.
    if (crc_on) crc.update(head, kLengthBytes + ulpdu);
  } else {
    if (crc_on) crc.update(head, kLengthBytes + header.bytes());
    visit_payload([&](std::byte* from, size_t bytes) {
      if (bytes < kCopyPiece) {
        std::byte* const to = batch.add(bytes);
        std::memcpy(to, from, bytes);
        from = to;
      } else {
        batch.add_memory(from, bytes);
      }
      if (crc_on) crc.update(from, bytes);
      return true;
    });
  }
  const size_t pad = pad_bytes(ulpdu);
  std::byte* const trailer = batch.add(pad + kCrcBytes);
  std::memset(trailer, 0, pad + kCrcBytes);
  if (crc_on) {
    crc.update(trailer, pad);
    store_le32(trailer + pad, crc.value());
  }
  built_sequence_ += fpdu_bytes(ulpdu);
  state_.counters.sent.count(header, payload);
}

void SendSide::emit_read_request(TxBatch& batch, const ReadRequest& request) {
  std::array<std::byte, kReadRequestBytes> body;
  encode_read_request(request, body.data());
  emit(batch,
       {.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = read_msn_++},
       kReadRequestBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
}

// Ends the message of `slot`, all of whose payload was built.
void SendSide::emit_immediate(TxBatch& batch, const SendSlot& slot) {
  std::array<std::byte, kImmediateBytes> body;
  encode_immediate(slot.imm, body.data());
  const bool of_send = slot.opcode == Opcode::kSendWithImm;
  emit(batch,
       {.kind = slot.solicited ? MessageKind::kImmediateSe : MessageKind::kImmediate,
        .last = true,
        .queue = kSendQueue,
        .msn = send_msn_,
        .mo = of_send ? slot.length : 0},
       kImmediateBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
  if (of_send) state_.counters.sends_with_immediate_sent.add();
}

void SendSide::start(bool initiator) {
  ready_to_send_ = initiator && state_.agreement.rtr != Rtr::kNone;
}

void SendSide::flush() {
  queue_.flush();
  offset_ = 0;
}

bool SendSide::build(TxBatch& batch) {
  const uint64_t before = queue_.passed();
  bool added = false;
  while (can_send()) {
    const Step ready = ready_to_send_ ? step_ready(batch) : Step::kIdle;
    if (ready == Step::kFull) break;
    const Step response = step_response(batch);
    if (response == Step::kFull || response == Step::kFailed) break;
    const Step request = step_queue(batch);
    const bool progress =
        ready == Step::kProgress || response == Step::kProgress || request == Step::kProgress;
    added |= progress;
    if (request == Step::kFull || request == Step::kFailed || !progress) break;
  }
  if (queue_.passed() != before) queue_.complete();
  return added;
}

// What the responder waits for before it may send (RFC 6581 §8): a WRITE or READ of no bytes.
SendSide::Step SendSide::step_ready(TxBatch& batch) {
  if (!has_room(batch, kReadRequestBytes)) return Step::kFull;
  ready_to_send_ = false;
  if (state_.agreement.rtr == Rtr::kWrite) {
    emit(batch, {.kind = MessageKind::kWrite, .tagged = true, .last = true}, 0, [](auto&&) {});
    return Step::kProgress;
  }
  emit_read_request(batch, {});
  state_.own_reads.add({.slot = OwnReads::kReadyRead});
  return Step::kProgress;
}

SendSide::Step SendSide::step_response(TxBatch& batch) {
  if (state_.peer_reads.empty()) return Step::kIdle;
  PeerReads::Read& response = state_.peer_reads.oldest();
  if (const auto* request = std::get_if<ReadRequest>(&response.request)) [[likely]] {
    return respond_read(batch, response, *request);
  }
  return respond_atomic(batch, response, std::get<AtomicRequest>(response.request));
}

SendSide::Step SendSide::respond_read(TxBatch& batch, PeerReads::Read& response,
                                      const ReadRequest& request) {
  const uint32_t payload = segment_of(request.length - response.sent);
  if (!has_room(batch, payload)) return Step::kFull;
  const SegmentHeader header{.kind = MessageKind::kReadResponse,
                             .tagged = true,
                             .last = response.sent + payload == request.length,
                             .stag = request.sink_stag,
                             .offset = request.sink_offset + response.sent};
  if (payload == 0) {
    emit(batch, header, 0, [](auto&&) {});
  } else {
    // What this peer wrote before it asked is what it must read (RFC 5040 §5.5).
    if (state_.placement.withheld() != nullptr) state_.placement.withheld()->order_all();
    // Looked up again for every segment: a key that ended meanwhile gives nothing more away.
    KeyRange range;
    KeyError error =
        state_.keys.resolve_remote(request.source_stag, request.source_offset + response.sent,
                                   payload, Access::kRemoteRead, state_.user, range);
    if (error == KeyError::kNone && !bases_live(range, payload)) error = KeyError::kInvalid;
    if (error != KeyError::kNone) {
      state_.counters.refused(error);
      state_.fail({.code = source_error(error),
                   .segment_bytes = kUntaggedHeaderBytes + kReadRequestBytes,
                   .segment = SegmentHeader{.kind = MessageKind::kReadRequest,
                                            .last = true,
                                            .queue = kReadQueue,
                                            .msn = response.msn},
                   .read = request});
      return Step::kFailed;
    }
    emit(batch, header, payload, [&](auto&& piece) { visit_memory(range, payload, piece); });
    if (payload > TxBatch::kCopyResponseBytes) batch.guard(range, payload);
  }
  response.sent += payload;
  if (header.last) state_.peer_reads.finish_oldest();
  return Step::kProgress;
}

SendSide::Step SendSide::respond_atomic(TxBatch& batch, const PeerReads::Read& response,
                                        const AtomicRequest& request) {
  // A READ before it may have given this batch the same memory, and the CRC was taken over it.
  if (batch.guarded() || !has_room(batch, kAtomicResponseBytes)) return Step::kFull;
  // What this peer wrote before it asked is what its atomic must see.
  if (state_.placement.withheld() != nullptr) state_.placement.withheld()->order_all();
  std::byte* at = nullptr;
  // Looked up again: a key that ended meanwhile lets nothing be changed any more.
  const AtomicTarget target = find_atomic_target(state_.keys, state_.user, request, at);
  if (target.refused()) {
    if (target.error != KeyError::kNone) state_.counters.refused(target.error);
    state_.fail({.code = target.code(),
                 .segment_bytes = kUntaggedHeaderBytes + kAtomicRequestBytes,
                 .segment = SegmentHeader{.kind = MessageKind::kAtomicRequest,
                                          .last = true,
                                          .queue = kReadQueue,
                                          .msn = response.msn}});
    return Step::kFailed;
  }
  std::array<std::byte, kAtomicResponseBytes> body;
  encode_atomic_response({.id = request.id, .original = carry_out(request, at)}, body.data());
  emit(batch,
       {.kind = MessageKind::kAtomicResponse,
        .last = true,
        .queue = kAtomicResponseQueue,
        .msn = atomic_response_msn_++},
       kAtomicResponseBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
  state_.peer_reads.finish_oldest();
  return Step::kProgress;
}

SendSide::Step SendSide::step_queue(TxBatch& batch) {
  if (queue_.waiting() == 0) return Step::kIdle;
  const uint32_t index = queue_.next_index();
  SendSlot& slot = queue_.slot(index);
  if (slot.fence && offset_ == 0) {
    if (!state_.own_reads.empty()) return Step::kIdle;
    if (state_.placement.withheld() != nullptr) state_.placement.withheld()->order_reads();
  }
  switch (slot.opcode) {
    case Opcode::kSend:
    case Opcode::kSendWithInv:
    case Opcode::kRdmaWrite:
      return send_message<false>(batch, slot, index);
    case Opcode::kSendWithImm:
    case Opcode::kRdmaWriteWithImm:
      return send_message<true>(batch, slot, index);
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      return send_atomic(batch, slot, index);
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return send_read(batch, slot, index);
    case Opcode::kRegMr:
    case Opcode::kLocalInv:
      return run_local(slot);
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
    case Opcode::kRecvRdmaWithImm:
      break;
  }
  return fail_request(slot, WcStatus::kLocalProtection);
}

template <bool kImmediate>
SendSide::Step SendSide::send_message(TxBatch& batch, SendSlot& slot, uint32_t index) {
  const uint32_t payload = segment_of(slot.length - offset_);
  const bool write = slot.opcode == (kImmediate ? Opcode::kRdmaWriteWithImm : Opcode::kRdmaWrite);
  // Immediate data goes out in the same batch as the last segment before it.
  if (!has_room(batch, kImmediate ? payload + kFramingBytes : payload)) return Step::kFull;
  const bool last = offset_ + payload == slot.length;
  SegmentHeader header;
  if (write) {
    header = {.kind = MessageKind::kWrite,
              .tagged = true,
              .last = last,
              .stag = slot.rkey,
              .offset = slot.remote + offset_};
  } else {
    const bool invalidate = slot.opcode == Opcode::kSendWithInv;
    header = {.kind = send_kind(invalidate, slot.solicited && !kImmediate),
              .last = last && !kImmediate,
              .invalidate = invalidate ? slot.rkey : 0,
              .queue = kSendQueue,
              .msn = send_msn_,
              .mo = offset_};
  }
  Message message;
  if (!gather(index, payload, message)) return fail_request(slot, WcStatus::kLocalProtection);
  emit(batch, header, payload, [&](auto&& piece) {
    for (uint32_t i = 0; i < message.count; ++i) {
      visit_memory(message.parts[i].range(), message.parts[i].bytes, piece);
    }
  });
  offset_ += payload;
  if (last) {
    if constexpr (kImmediate) emit_immediate(batch, slot);
    if (!write || kImmediate) ++send_msn_;
    slot.end_sequence = built_sequence_;
    pass_request();
  }
  return Step::kProgress;
}

// The part of the scatter list that holds [offset_, offset_ + payload). False when a key of it has
// ended.
bool SendSide::gather(uint32_t index, uint32_t payload, Message& message) const {
  uint32_t skip = offset_;
  for (const Sge& sge : queue_.sges_of(index)) {
    if (payload == 0) break;
    if (skip >= sge.length) {
      skip -= sge.length;
      continue;
    }
    const uint32_t bytes = std::min(sge.length - skip, payload);
    KeyRange range;
    if (state_.keys.resolve_local({sge.addr + skip, bytes, sge.lkey}, Access::kNone, state_.user,
                                  range) != KeyError::kNone ||
        !bases_live(range, bytes)) {
      return false;
    }
    message.parts[message.count++] = {range.slot, range.offset, range.stag, bytes};
    skip = 0;
    payload -= bytes;
  }
  return true;
}

// The next request, a READ, may be held back for others to join it: the responses under way will
// bring build() here again. Not if anything but READs waits after it.
bool SendSide::read_can_wait() const {
  constexpr uint64_t kMaxHeld = 8;
  if (state_.own_reads.bytes() < kReadAheadBytes || queue_.waiting() > kMaxHeld) return false;
  uint64_t bytes = 0;
  for (uint64_t i = 0; i < queue_.waiting(); ++i) {
    const SendSlot& slot = queue_.waiting_at(i);
    if (slot.opcode != Opcode::kRdmaRead) return false;
    bytes += slot.length;
  }
  return bytes < kMaxBatchBytes;
}

SendSide::Step SendSide::send_read(TxBatch& batch, SendSlot& slot, uint32_t index) {
  if (state_.own_reads.full()) return Step::kIdle;
  if (batch.empty() && read_can_wait()) return Step::kIdle;
  if (!has_room(batch, kReadRequestBytes)) return Step::kFull;
  ReadRequest request{
      .length = slot.length, .source_stag = slot.rkey, .source_offset = slot.remote};
  const std::span<const Sge> sges = queue_.sges_of(index);
  if (slot.length > 0) {
    KeyRange range;
    if (state_.keys.resolve_local(sges[0], Access::kLocalWrite | Access::kRemoteWrite, state_.user,
                                  range) != KeyError::kNone) {
      return fail_request(slot, WcStatus::kLocalProtection);
    }
    request.sink_stag = range.stag;
    request.sink_offset = range.offset;  // counted from the key's first byte: no address
  } else if (!sges.empty()) {
    request.sink_stag = sges[0].lkey.value;
  }
  emit_read_request(batch, request);
  state_.own_reads.add({.slot = index,
                        .stag = request.sink_stag,
                        .offset = request.sink_offset,
                        .length = request.length});
  state_.counters.reads_outstanding_max.raise(state_.own_reads.count());
  pass_request();
  return Step::kProgress;
}

SendSide::Step SendSide::send_atomic(TxBatch& batch, SendSlot& slot, uint32_t index) {
  if (state_.own_reads.full()) return Step::kIdle;
  if (!has_room(batch, kAtomicRequestBytes)) return Step::kFull;
  constexpr uint64_t kAll = ~uint64_t{0};
  // A FetchAdd carries no compare data and a full compare mask (RFC 7306 §5.2.1).
  AtomicRequest request{
      .id = read_msn_, .stag = slot.rkey, .offset = slot.remote, .compare_mask = kAll};
  const AtomicOperands& operands = queue_.operands_of(index);
  if (slot.opcode == Opcode::kFetchAdd) {
    request.add_swap = operands.compare_add;
  } else {
    request.code = AtomicCode::kCompareSwap;
    request.add_swap = operands.swap;
    request.add_swap_mask = kAll;
    request.compare = operands.compare_add;
  }
  std::array<std::byte, kAtomicRequestBytes> body;
  encode_atomic_request(request, body.data());
  emit(batch,
       {.kind = MessageKind::kAtomicRequest, .last = true, .queue = kReadQueue, .msn = read_msn_},
       kAtomicRequestBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
  state_.own_reads.add({.slot = index, .length = kAtomicBytes, .msn = read_msn_, .atomic = true});
  state_.counters.reads_outstanding_max.raise(state_.own_reads.count());
  ++read_msn_;
  pass_request();
  return Step::kProgress;
}

SendSide::Step SendSide::run_local(SendSlot& slot) {
  if (slot.opcode == Opcode::kRegMr) {
    if (!slot.mr->open()) return fail_request(slot, WcStatus::kBind);
  } else {
    // The peer may have ended it first; it is dead either way.
    KeySlot* key = state_.keys.slot_of(slot.rkey);
    if (key != nullptr && key->live.load(std::memory_order_relaxed) == slot.rkey) {
      KeyTable::close(*key);
    }
    if (state_.placement.withheld() != nullptr) state_.placement.withheld()->invalidated(slot.rkey);
  }
  slot.done = true;
  pass_request();
  return Step::kProgress;
}

SendSide::Step SendSide::fail_request(SendSlot& slot, WcStatus status) {
  slot.status = status;
  state_.local_fault = true;
  state_.fail({.code = term::kLocalCatastrophic});
  return Step::kFailed;
}

void SendSide::pass_request() {
  queue_.pass_next();
  offset_ = 0;
}

// The last response byte of the request in `slot` is in place.
void SendSide::read_answered(uint32_t index) {
  SendSlot& slot = queue_.slot(index);
  if (slot.opcode == Opcode::kRdmaReadWithInv) {
    const uint32_t stag = queue_.sges_of(index)[0].lkey.value;
    KeySlot* key = state_.keys.slot_of(stag);
    if (key != nullptr && key->live.load(std::memory_order_relaxed) == stag) KeyTable::close(*key);
  }
  slot.done = true;
  queue_.complete();
}

// Finds the request that the peer's Terminate is about and gives it its status.
void SendSide::peer_terminated(const Terminate& terminate) {
  const TerminateCode& code = terminate.code;
  const bool protection = code.layer == 0 ? code.type == 1 : code.layer == 1 && code.type == 1;
  const WcStatus status =
      protection ? WcStatus::kRemoteAccess
                 : (code.layer == 1 ? WcStatus::kRemoteInvalidRequest : WcStatus::kRemoteOperation);
  if (terminate.read) {
    const OwnReads::Read* read =
        state_.own_reads.find(terminate.read->sink_stag, terminate.read->sink_offset);
    if (read != nullptr) queue_.slot(read->slot).status = status;
  } else if (terminate.segment && terminate.segment->kind == MessageKind::kAtomicRequest) {
    const OwnReads::Read* atomic = state_.own_reads.find_atomic(terminate.segment->msn);
    if (atomic != nullptr) queue_.slot(atomic->slot).status = status;
  } else if (terminate.segment) {
    if (SendSlot* slot = queue_.find(*terminate.segment); slot != nullptr) slot->status = status;
  }
}

}  // namespace mrpool::uiwarp
