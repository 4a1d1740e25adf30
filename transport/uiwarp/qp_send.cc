// QpCore: what goes out.
#include <algorithm>
#include <cstring>

#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/key_error.h"
#include "transport/uiwarp/qp_core.h"

namespace mrpool::uiwarp {

namespace {

// Block bytes and gather entries that one segment may need.
constexpr size_t kFramingBytes = kMaxSegmentHeaderBytes + kReadRequestBytes + kMaxTrailerBytes;
// Pieces below this are copied into the block. So one segment has at most one entry per that many
// bytes of payload, and one for the block bytes between each two.
constexpr size_t kCopyPiece = 512;
constexpr size_t pieces_of(size_t payload) { return 2 * (payload / kCopyPiece) + 3; }

// How much of what is left the next segment takes: equal shares in whole pages, so that no small
// rest trails behind.
uint32_t segment_of(uint32_t left) {
  if (left <= QpCore::kMaxSegmentPayload) return left;
  const uint32_t segments = (left - 1) / QpCore::kMaxSegmentPayload + 1;
  const uint32_t share = (left / segments + 4095) & ~4095u;
  return std::min(share, QpCore::kMaxSegmentPayload);
}

bool has_room(const TxBatch& batch, uint32_t payload) {
  return batch.bytes() < QpCore::kMaxBatchBytes &&
         batch.has_room(kFramingBytes + payload, pieces_of(payload));
}

}  // namespace

// Appends one FPDU. `visit_payload(piece)` calls piece(memory, bytes) for the payload in order; its
// memory has been checked and stays while the section lasts.
template <typename Visit>
void QpCore::emit(TxBatch& batch, const SegmentHeader& header, uint32_t payload,
                  Visit&& visit_payload) {
  const size_t ulpdu = header.bytes() + payload;
  std::byte* const head = batch.add(kLengthBytes + header.bytes());
  store_be16(head, static_cast<uint16_t>(ulpdu));
  encode_segment(header, head + kLengthBytes);
  const bool crc_on = agreement_.crc;
  Crc32c crc;
  const bool response = header.kind == MessageKind::kReadResponse;
  if (payload <= (response ? TxBatch::kCopyResponseBytes : TxBatch::kCopyBytes)) {
    std::byte* to = batch.add(payload);
    visit_payload([&](const std::byte* from, size_t bytes) {
      std::memcpy(to, from, bytes);
      to += bytes;
      return true;
    });
    // Header and payload lie behind each other in the block.
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
}

bool QpCore::can_send() const {
  if (!started_ || !gate_open_ || failed()) return false;
  return ready_to_send_ || responses_count_ > 0 || next_ < tail_;
}

bool QpCore::quiet() const {
  return head_ == tail_ && responses_count_ == 0 && reads_count_ == 0 && !ready_to_send_;
}

bool QpCore::build(TxBatch& batch) {
  const uint64_t before = next_;
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
  if (next_ != before) retire();
  return added;
}

void QpCore::sent(size_t bytes) {
  sent_sequence_ += bytes;
  retire();
}

// What the responder waits for before it may send (RFC 6581 §8): a WRITE or READ of no bytes.
QpCore::Step QpCore::step_ready(TxBatch& batch) {
  if (!has_room(batch, kReadRequestBytes)) return Step::kFull;
  ready_to_send_ = false;
  if (agreement_.rtr == Rtr::kWrite) {
    emit(batch, {.kind = MessageKind::kWrite, .tagged = true, .last = true}, 0, [](auto&&) {});
    return Step::kProgress;
  }
  std::array<std::byte, kReadRequestBytes> body;
  encode_read_request({}, body.data());
  emit(batch,
       {.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = read_msn_++},
       kReadRequestBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
  reads_[(reads_head_ + reads_count_++) % reads_.size()] = {.slot = kReadyRead};
  return Step::kProgress;
}

QpCore::Step QpCore::step_response(TxBatch& batch) {
  if (responses_count_ == 0) return Step::kIdle;
  Response& response = responses_[responses_head_];
  const ReadRequest& request = response.request;
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
    if (placement_.withheld() != nullptr) placement_.withheld()->order_all();
    // Looked up again for every segment: a key that ended meanwhile gives nothing more away.
    KeyRange range;
    KeyError error =
        keys_.resolve_remote(request.source_stag, request.source_offset + response.sent, payload,
                             Access::kRemoteRead, user_, range);
    if (error == KeyError::kNone && !bases_live(range, payload)) error = KeyError::kInvalid;
    if (error != KeyError::kNone) {
      violation_ = Terminate{
          .code = source_error(error),
          .segment_bytes = kUntaggedHeaderBytes + kReadRequestBytes,
          .segment =
              SegmentHeader{.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue},
          .read = request};
      return Step::kFailed;
    }
    emit(batch, header, payload, [&](auto&& piece) { visit_memory(range, payload, piece); });
    if (payload > TxBatch::kCopyResponseBytes) batch.guard(range);
  }
  response.sent += payload;
  if (header.last) {
    responses_head_ = (responses_head_ + 1) % static_cast<uint32_t>(responses_.size());
    --responses_count_;
  }
  return Step::kProgress;
}

QpCore::Step QpCore::step_queue(TxBatch& batch) {
  if (next_ == tail_) return Step::kIdle;
  const uint32_t index = slot_at(next_);
  SendSlot& slot = send_[index];
  if (slot.fence && offset_ == 0) {
    if (reads_count_ > 0) return Step::kIdle;
    if (placement_.withheld() != nullptr) placement_.withheld()->order_reads();
  }
  switch (slot.opcode) {
    case Opcode::kSend:
    case Opcode::kSendWithInv:
    case Opcode::kRdmaWrite:
      return send_message(batch, slot);
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return send_read(batch, slot, index);
    case Opcode::kRegMr:
    case Opcode::kLocalInv:
      return run_local(slot);
    case Opcode::kRecv:
      break;
  }
  return fail_request(slot, WcStatus::kLocalProtection);
}

QpCore::Step QpCore::send_message(TxBatch& batch, SendSlot& slot) {
  const uint32_t payload = segment_of(slot.length - offset_);
  if (!has_room(batch, payload)) return Step::kFull;
  const bool last = offset_ + payload == slot.length;
  SegmentHeader header;
  if (slot.opcode == Opcode::kRdmaWrite) {
    header = {.kind = MessageKind::kWrite,
              .tagged = true,
              .last = last,
              .stag = slot.rkey,
              .offset = slot.remote + offset_};
  } else {
    const bool invalidate = slot.opcode == Opcode::kSendWithInv;
    header = {.kind = send_kind(invalidate, slot.solicited),
              .last = last,
              .invalidate = invalidate ? slot.rkey : 0,
              .queue = kSendQueue,
              .msn = send_msn_,
              .mo = offset_};
  }

  // The part of the scatter list that holds [offset_, offset_ + payload), looked up before a byte
  // of the segment is built.
  struct Part {
    KeyRange range;
    uint32_t bytes;
  };
  std::array<Part, kMaxSges> parts;
  uint32_t count = 0;
  uint32_t skip = offset_;
  uint32_t left = payload;
  for (const Sge& sge : sges_of(slot_at(next_))) {
    if (left == 0) break;
    if (skip >= sge.length) {
      skip -= sge.length;
      continue;
    }
    const uint32_t bytes = std::min(sge.length - skip, left);
    Part& part = parts[count++];
    part.bytes = bytes;
    if (keys_.resolve_local({sge.addr + skip, bytes, sge.lkey}, Access::kNone, user_, part.range) !=
            KeyError::kNone ||
        !bases_live(part.range, bytes)) {
      return fail_request(slot, WcStatus::kLocalProtection);
    }
    skip = 0;
    left -= bytes;
  }
  emit(batch, header, payload, [&](auto&& piece) {
    for (uint32_t i = 0; i < count; ++i) visit_memory(parts[i].range, parts[i].bytes, piece);
  });
  offset_ += payload;
  if (last) {
    if (slot.opcode != Opcode::kRdmaWrite) ++send_msn_;
    slot.end_sequence = built_sequence_;
    finish_front();
  }
  return Step::kProgress;
}

// The READ at next_ may be held back for others to join it: the responses under way will bring
// build() here again. Not if anything but READs waits behind it.
bool QpCore::read_can_wait() const {
  constexpr uint64_t kMaxHeld = 8;
  if (reads_bytes_ < kReadAheadBytes || tail_ - next_ > kMaxHeld) return false;
  uint64_t bytes = 0;
  for (uint64_t position = next_; position < tail_; ++position) {
    const SendSlot& slot = send_[slot_at(position)];
    if (slot.opcode != Opcode::kRdmaRead) return false;
    bytes += slot.length;
  }
  return bytes < kMaxBatchBytes;
}

QpCore::Step QpCore::send_read(TxBatch& batch, SendSlot& slot, uint32_t index) {
  if (reads_count_ >= agreement_.ord) return Step::kIdle;
  if (batch.empty() && read_can_wait()) return Step::kIdle;
  if (!has_room(batch, kReadRequestBytes)) return Step::kFull;
  ReadRequest request{
      .length = slot.length, .source_stag = slot.rkey, .source_offset = slot.remote};
  const std::span<const Sge> sges = sges_of(index);
  if (slot.length > 0) {
    KeyRange range;
    if (keys_.resolve_local(sges[0], Access::kLocalWrite | Access::kRemoteWrite, user_, range) !=
        KeyError::kNone) {
      return fail_request(slot, WcStatus::kLocalProtection);
    }
    request.sink_stag = range.stag;
    request.sink_offset = range.slot->remote_base + range.offset;
  } else if (!sges.empty()) {
    request.sink_stag = sges[0].lkey.value;
  }
  std::array<std::byte, kReadRequestBytes> body;
  encode_read_request(request, body.data());
  emit(batch,
       {.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = read_msn_++},
       kReadRequestBytes, [&](auto&& piece) { piece(body.data(), body.size()); });
  reads_[(reads_head_ + reads_count_++) % reads_.size()] = {.slot = index,
                                                            .stag = request.sink_stag,
                                                            .offset = request.sink_offset,
                                                            .length = request.length};
  reads_bytes_ += request.length;
  finish_front();
  return Step::kProgress;
}

QpCore::Step QpCore::run_local(SendSlot& slot) {
  if (slot.opcode == Opcode::kRegMr) {
    if (!slot.mr->open()) return fail_request(slot, WcStatus::kBind);
  } else {
    // The peer may have ended it first; it is dead either way.
    KeySlot* key = keys_.slot_of(slot.rkey);
    if (key != nullptr && key->live.load(std::memory_order_relaxed) == slot.rkey) {
      KeyTable::close(*key);
    }
    if (placement_.withheld() != nullptr) placement_.withheld()->invalidated(slot.rkey);
  }
  slot.done = true;
  finish_front();
  return Step::kProgress;
}

QpCore::Step QpCore::fail_request(SendSlot& slot, WcStatus status) {
  slot.status = status;
  local_fault_ = true;
  violation_ = Terminate{.code = term::kLocalCatastrophic};
  return Step::kFailed;
}

void QpCore::finish_front() {
  ++next_;
  offset_ = 0;
}

void QpCore::retire() {
  for (; head_ < next_; ++head_) {
    SendSlot& slot = send_[slot_at(head_)];
    if (slot.end_sequence != 0) slot.done = slot.end_sequence <= sent_sequence_;
    if (!slot.done) return;
    if (slot.signalled && slot.completion != nullptr) {
      const bool read = slot.opcode == Opcode::kRdmaRead || slot.opcode == Opcode::kRdmaReadWithInv;
      send_cq_.push(slot.completion, {.opcode = slot.opcode, .qp = &qp_}, placement_.here(!read));
    }
  }
}

}  // namespace mrpool::uiwarp
