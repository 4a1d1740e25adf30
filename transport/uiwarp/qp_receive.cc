// QpCore: what comes in.
#include <algorithm>
#include <cstring>

#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/key_error.h"
#include "transport/uiwarp/qp_core.h"

namespace mrpool::uiwarp {

void QpCore::violation(const TerminateCode& code) {
  if (!failed()) violation_ = Terminate{.code = code};
}

// The segment that is coming in is refused; its header goes into the Terminate.
bool QpCore::refuse(const TerminateCode& code) {
  if (!failed()) {
    violation_ = Terminate{.code = code,
                           .segment_bytes = static_cast<uint16_t>(segment_.bytes() + payload_),
                           .segment = segment_};
  }
  return false;
}

bool QpCore::empty_fpdu() {
  if (agreement_.rtr != Rtr::kZeroLength || gate_open_) {
    violation(term::kMpaLength);
    return false;
  }
  gate_open_ = true;
  return true;
}

bool QpCore::begin(const SegmentHeader& header, size_t payload) {
  segment_ = header;
  payload_ = payload;
  landing_ = Landing::kNothing;
  if (header.ddp_version != 1) {
    return refuse(header.tagged ? term::kTaggedDdpVersion : term::kUntaggedDdpVersion);
  }
  if (header.rdmap_version != 1) return refuse(term::kRdmapVersion);
  const bool tagged_kind =
      header.kind == MessageKind::kWrite || header.kind == MessageKind::kReadResponse;
  if (header.kind > MessageKind::kTerminate || header.tagged != tagged_kind) {
    return refuse(term::kUnexpectedOpcode);
  }
  switch (header.kind) {
    case MessageKind::kWrite:
      return begin_write(header, payload);
    case MessageKind::kReadResponse:
      return begin_response(header, payload);
    case MessageKind::kReadRequest:
    case MessageKind::kTerminate:
      return begin_control(header, payload);
    default:
      return begin_send(header, payload);
  }
}

bool QpCore::begin_write(const SegmentHeader&, size_t payload) {
  if (payload == 0) return true;  // names no byte, so its key is not looked at (RFC 5040 §5.1)
  landing_ = Landing::kWrite;
  KeyRange range;
  const KeyError error = tagged_range(0, payload, range);
  return error == KeyError::kNone ? true : refuse(tagged_error(error));
}

bool QpCore::begin_response(const SegmentHeader& header, size_t payload) {
  if (reads_count_ == 0) return refuse(term::kUnexpectedOpcode);
  const ReadOut& read = reads_[reads_head_];
  // Responses come in the order of the requests and each from its first byte to its last.
  if (payload > 0 && header.stag != read.stag) return refuse(term::kTaggedInvalidStag);
  if (payload > read.length - read.received ||
      (payload > 0 && header.offset != read.offset + read.received)) {
    return refuse(term::kTaggedBounds);
  }
  if (header.last && read.received + payload != read.length) return refuse(term::kTaggedBounds);
  if (payload == 0) {
    landing_ = Landing::kResponse;
    return true;
  }
  landing_ = Landing::kResponse;
  KeyRange range;
  const KeyError error = tagged_range(0, payload, range);
  if (error == KeyError::kNone) return true;
  if (read.slot != kReadyRead) send_[read.slot].status = WcStatus::kLocalProtection;
  return refuse(tagged_error(error));
}

bool QpCore::begin_send(const SegmentHeader& header, size_t payload) {
  if (header.queue != kSendQueue) return refuse(term::kUntaggedQueue);
  if (header.msn != expected_send_msn_) return refuse(term::kUntaggedMsnRange);
  if (!receiving_) {
    if (receives_.empty()) return refuse(term::kUntaggedNoBuffer);
    receives_.take(receive_);
    receiving_ = true;
    received_ = 0;
  }
  if (header.mo != received_) return refuse(term::kUntaggedOffset);
  if (payload > receive_.bytes - received_) {
    complete_receive({.status = WcStatus::kLocalLength, .opcode = Opcode::kRecv, .qp = &qp_});
    return refuse(term::kUntaggedTooLong);
  }
  landing_ = Landing::kReceive;
  return true;
}

bool QpCore::begin_control(const SegmentHeader& header, size_t payload) {
  const bool read = header.kind == MessageKind::kReadRequest;
  if (header.queue != (read ? kReadQueue : kTerminateQueue)) return refuse(term::kUntaggedQueue);
  if (header.msn != (read ? expected_read_msn_ : 1)) return refuse(term::kUntaggedMsnRange);
  if (header.mo != 0) return refuse(term::kUntaggedOffset);
  if (read) {
    if (payload != kReadRequestBytes || !header.last) return refuse(term::kUntaggedTooLong);
    if (responses_count_ == responses_.size()) return refuse(term::kUntaggedNoBuffer);
  } else if (payload > kMaxTerminateBytes) {
    return refuse(term::kUntaggedTooLong);
  }
  landing_ = Landing::kControl;
  return true;
}

KeyError QpCore::tagged_range(size_t offset, size_t bytes, KeyRange& range) const {
  const Access rights = landing_ == Landing::kWrite ? Access::kRemoteWrite
                                                    : Access::kLocalWrite | Access::kRemoteWrite;
  // Never wraps: begin() looked the whole payload up first, and that includes this sum.
  if (offset > 0 && segment_.offset > ~uint64_t{0} - offset) return KeyError::kWrap;
  const KeyError error =
      keys_.resolve_remote(segment_.stag, segment_.offset + offset, bytes, rights, user_, range);
  if (error == KeyError::kNone && !bases_live(range, bytes)) return KeyError::kInvalid;
  return error;
}

// Calls visit(range, bytes) for the parts of the receive's scatter list that hold
// [received_ + offset, + bytes). False when one of its keys has ended.
template <typename Visit>
bool QpCore::visit_receive(size_t offset, size_t bytes, Visit&& visit) {
  size_t skip = received_ + offset;
  for (uint32_t i = 0; i < receive_.sge_count && bytes > 0; ++i) {
    const Sge& sge = receive_.sges[i];
    if (skip >= sge.length) {
      skip -= sge.length;
      continue;
    }
    const auto part = static_cast<uint32_t>(std::min<size_t>(sge.length - skip, bytes));
    KeyRange range;
    if (keys_.resolve_local({sge.addr + skip, part, sge.lkey}, Access::kLocalWrite, user_, range) !=
        KeyError::kNone) {
      return false;
    }
    if (!visit(range, part)) return false;
    skip = 0;
    bytes -= part;
  }
  return true;
}

size_t QpCore::landing(size_t offset, size_t bytes, std::span<iovec> out) {
  size_t count = 0;
  if (landing_ == Landing::kReceive) {
    visit_receive(offset, bytes, [&](const KeyRange& range, size_t part) {
      return placement_.direct(range, part, out, count) == part;
    });
    return count;
  }
  if (landing_ != Landing::kWrite && landing_ != Landing::kResponse) return 0;
  KeyRange range;
  if (tagged_range(offset, bytes, range) != KeyError::kNone) return 0;
  placement_.direct(range, bytes, out, count);
  return count;
}

bool QpCore::place(size_t offset, const std::byte* from, size_t bytes) {
  switch (landing_) {
    case Landing::kControl:
      std::memcpy(control_.data() + offset, from, bytes);
      return true;
    case Landing::kReceive: {
      const bool placed = visit_receive(offset, bytes, [&](const KeyRange& range, size_t part) {
        if (!placement_.copy(range, from, part, Placement::Kind::kReceive)) return false;
        from += part;
        return true;
      });
      if (placed) return true;
      complete_receive({.status = WcStatus::kLocalProtection, .opcode = Opcode::kRecv, .qp = &qp_});
      local_fault_ = true;
      return refuse(term::kLocalCatastrophic);
    }
    case Landing::kWrite:
    case Landing::kResponse: {
      KeyRange range;
      const KeyError error = tagged_range(offset, bytes, range);
      if (error != KeyError::kNone) return refuse(tagged_error(error));
      placement_.copy(
          range, from, bytes,
          landing_ == Landing::kWrite ? Placement::Kind::kWrite : Placement::Kind::kReadResponse);
      return true;
    }
    case Landing::kNothing:
      break;
  }
  return true;
}

bool QpCore::end() {
  // Whatever the initiator sends first makes the responder ready to send.
  gate_open_ = true;
  switch (segment_.kind) {
    case MessageKind::kWrite:
      return true;
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

bool QpCore::end_response() {
  ReadOut& read = reads_[reads_head_];
  read.received += static_cast<uint32_t>(payload_);
  reads_bytes_ -= payload_;
  if (!segment_.last) return true;
  if (read.slot != kReadyRead) {
    SendSlot& slot = send_[read.slot];
    if (slot.opcode == Opcode::kRdmaReadWithInv) {
      KeySlot* key = keys_.slot_of(sges_of(read.slot)[0].lkey.value);
      if (key != nullptr &&
          key->live.load(std::memory_order_relaxed) == sges_of(read.slot)[0].lkey.value) {
        KeyTable::close(*key);
      }
    }
    slot.done = true;
  }
  reads_head_ = (reads_head_ + 1) % static_cast<uint32_t>(reads_.size());
  --reads_count_;
  retire();
  return true;
}

bool QpCore::end_send() {
  received_ += static_cast<uint32_t>(payload_);
  if (!segment_.last) return true;
  ++expected_send_msn_;
  WorkCompletion wc{.opcode = Opcode::kRecv,
                    .solicited = solicits(segment_.kind),
                    .byte_len = received_,
                    .qp = &qp_};
  if (invalidates(segment_.kind)) {
    KeySlot* key = keys_.slot_of(segment_.invalidate);
    const bool mine = key != nullptr && segment_.invalidate != 0 &&
                      key->live.load(std::memory_order_acquire) == segment_.invalidate &&
                      key->qp.load(std::memory_order_relaxed) == user_.qp;
    if (!mine) {
      complete_receive(
          {.status = WcStatus::kRemoteInvalidRequest, .opcode = Opcode::kRecv, .qp = &qp_});
      return refuse(term::kCannotInvalidate);
    }
    KeyTable::close(*key);
    wc.invalidated = true;
    wc.invalidated_rkey = {segment_.invalidate};
  }
  complete_receive(wc);
  return true;
}

bool QpCore::end_read_request() {
  const ReadRequest request = decode_read_request(control_.data());
  if (request.length > 0) {
    KeyRange range;
    const KeyError error = keys_.resolve_remote(request.source_stag, request.source_offset,
                                                request.length, Access::kRemoteRead, user_, range);
    if (error != KeyError::kNone) {
      refuse(source_error(error));
      violation_->read = request;
      return false;
    }
  }
  ++expected_read_msn_;
  responses_[(responses_head_ + responses_count_++) % responses_.size()] = {.request = request};
  return true;
}

bool QpCore::end_terminate() {
  peer_terminate_ = decode_terminate({control_.data(), payload_});
  if (!peer_terminate_) peer_terminate_ = Terminate{.code = term::kOperationUnspecified};
  blame(*peer_terminate_);
  return false;
}

// Finds the request that the peer's Terminate is about and gives it its status.
void QpCore::blame(const Terminate& terminate) {
  const bool protection = terminate.code.layer == 0
                              ? terminate.code.type == 1
                              : terminate.code.layer == 1 && terminate.code.type == 1;
  const WcStatus status = protection ? WcStatus::kRemoteAccess
                                     : (terminate.code.layer == 1 ? WcStatus::kRemoteInvalidRequest
                                                                  : WcStatus::kRemoteOperation);
  if (terminate.read) {
    for (uint32_t i = 0; i < reads_count_; ++i) {
      const ReadOut& read = reads_[(reads_head_ + i) % reads_.size()];
      if (read.slot == kReadyRead || read.stag != terminate.read->sink_stag ||
          read.offset != terminate.read->sink_offset) {
        continue;
      }
      send_[read.slot].status = status;
      return;
    }
    return;
  }
  if (!terminate.segment) return;
  const SegmentHeader& segment = *terminate.segment;
  for (uint64_t position = head_; position < next_; ++position) {
    SendSlot& slot = send_[slot_at(position)];
    const bool write = segment.kind == MessageKind::kWrite && slot.opcode == Opcode::kRdmaWrite &&
                       slot.rkey == segment.stag && segment.offset >= slot.remote &&
                       segment.offset - slot.remote < slot.length;
    const bool send = is_send(segment.kind) &&
                      (slot.opcode == Opcode::kSend || slot.opcode == Opcode::kSendWithInv);
    if (!write && !send) continue;
    slot.status = status;
    return;
  }
}

}  // namespace mrpool::uiwarp
