#include "transport/uiwarp/receiver.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mrpool::uiwarp {

namespace {
// Scratch after a direct receive while large payloads arrive: the trailer and the next header. The
// next payload, which is probably large too, can then be received in place. One more system call
// where it is not.
constexpr size_t kLookaheadBytes = kMaxTrailerBytes + kMaxSegmentHeaderBytes;
// While bulk is coming, a receive between two FPDUs takes no more than this into scratch. Bulk are
// FPDUs of twice that and more: a smaller one would be cut by the limit that it had itself caused.
constexpr size_t kBulkScratchBytes = 4096;
constexpr size_t kBulkUlpdu = 2 * kBulkScratchBytes;
// FPDUs in a row that are not bulk until no more of it is expected.
constexpr uint8_t kBulkMemory = 16;
// Plans that offer little scratch after one receive brought more FPDUs than a round is for, and the
// least that they offer.
constexpr uint8_t kPacedPlans = 64;
constexpr size_t kPacedBytes = 512;
}  // namespace

size_t Receiver::plan(std::span<std::byte> scratch, std::span<iovec> out) {
  direct_bytes_ = 0;
  if (state_ == State::kPayload) {
    const size_t pieces = handler_.landing(done_, remaining_, out.first(out.size() - 1));
    for (size_t i = 0; i < pieces; ++i) direct_bytes_ += out[i].iov_len;
    if (direct_bytes_ > 0) {
      if (direct_bytes_ < remaining_) return pieces;
      out[pieces] = {scratch.data(), bulk_ > 0 ? kLookaheadBytes : scratch.size()};
      return pieces + 1;
    }
  }
  if (stashed_ > 0) std::memcpy(scratch.data(), stash_.get(), stashed_);
  size_t room = scratch.size() - stashed_;
  // What nothing may be received into directly goes through scratch, however large.
  if (bulk_ > 0 && state_ != State::kPayload) room = std::min(room, kBulkScratchBytes);
  if (paced_ > 0) [[unlikely]] {
    --paced_;
    room = std::min(room, paced_bytes_);
  }
  out[0] = {scratch.data() + stashed_, room};
  return 1;
}

bool Receiver::commit(std::span<std::byte> scratch, std::span<const iovec> planned, size_t bytes) {
  if (direct_bytes_ > 0) {
    const size_t direct = std::min(bytes, direct_bytes_);
    if (crc_on_) {
      size_t left = direct;
      for (const iovec& piece : planned) {
        const size_t part = std::min(left, piece.iov_len);
        crc_.update(piece.iov_base, part);
        left -= part;
        if (left == 0) break;
      }
    }
    payload_came(direct);
    return feed(scratch.data(), bytes - direct);
  }
  const size_t total = std::exchange(stashed_, 0) + bytes;
  const uint32_t before = work_;
  if (!feed(scratch.data(), total)) return false;
  if (work_ - before > kWorkPerRound) [[unlikely]]
    pace(bytes, work_ - before);
  return true;
}

// So many bytes took too much work: the next plans offer what a round is for.
void Receiver::pace(size_t bytes, uint32_t work) {
  paced_ = kPacedPlans;
  paced_bytes_ = std::max(kPacedBytes, bytes * kWorkPerRound / work);
}

bool Receiver::feed(const std::byte* at, size_t bytes) {
  while (bytes > 0) {
    size_t used = 0;
    switch (state_) {
      case State::kFrame: {
        if (bytes < kLengthBytes + 1) {
          stash(at, bytes);
          return true;
        }
        const size_t ulpdu = load_be16(at);
        const size_t total = fpdu_bytes(ulpdu);
        if (bytes >= total) {
          ++work_;
          if (!whole(at, ulpdu)) return handler_.waits() && hold(at, bytes);
          used = total;
          break;
        }
        const size_t header = kLengthBytes + segment_header_bytes(at[kLengthBytes]);
        if (total <= kWholeBytes || bytes < header) {
          stash(at, bytes);
          return true;
        }
        if (!start_parts(at, ulpdu)) return handler_.waits() && hold(at, bytes);
        used = header;
        break;
      }
      case State::kPayload:
        used = std::min(bytes, remaining_);
        if (crc_on_) crc_.update(at, used);
        if (!handler_.place(done_, at, used)) return false;
        payload_came(used);
        break;
      case State::kTrailer: {
        const size_t wanted = pad_bytes(ulpdu_) + kCrcBytes;
        used = std::min(bytes, wanted - trailer_have_);
        std::memcpy(trailer_.data() + trailer_have_, at, used);
        trailer_have_ += used;
        if (trailer_have_ == wanted && !finish_parts()) return false;
        break;
      }
    }
    at += used;
    bytes -= used;
  }
  return true;
}

bool Receiver::whole(const std::byte* at, size_t ulpdu) {
  const size_t covered = kLengthBytes + ulpdu + pad_bytes(ulpdu);
  if (crc_on_) {
    Crc32c crc;
    crc.update(at, covered);
    if (crc.value() != load_le32(at + covered)) {
      handler_.violation(term::kMpaCrc);  // counted in receive_side.cc
      return false;
    }
  }
  expect_bulk_after(ulpdu);
  if (ulpdu == 0) return handler_.empty_fpdu();
  const size_t header_bytes = segment_header_bytes(at[kLengthBytes]);
  if (ulpdu < header_bytes) {
    handler_.violation(term::kMpaLength);
    return false;
  }
  const std::byte* const payload = at + kLengthBytes + header_bytes;
  const size_t size = ulpdu - header_bytes;
  if (!handler_.begin(decode_segment(at + kLengthBytes), size)) return false;
  if (size == 0) {
    work_ += kIdleWork - 1;
    if (header_bytes == kTaggedHeaderBytes) ++idle_;
  } else if (!handler_.place(0, payload, size)) {
    return false;
  }
  return handler_.end();
}

bool Receiver::start_parts(const std::byte* at, size_t ulpdu) {
  // ulpdu exceeds every header here: it is larger than kWholeBytes.
  const SegmentHeader header = decode_segment(at + kLengthBytes);
  const size_t header_bytes = header.bytes();
  ulpdu_ = ulpdu;
  done_ = 0;
  remaining_ = ulpdu - header_bytes;
  expect_bulk_after(ulpdu);
  crc_ = {};
  if (crc_on_) crc_.update(at, kLengthBytes + header_bytes);
  if (!handler_.begin(header, remaining_)) return false;
  state_ = State::kPayload;
  return true;
}

void Receiver::expect_bulk_after(size_t ulpdu) {
  if (ulpdu >= kBulkUlpdu) {
    bulk_ = kBulkMemory;
  } else if (bulk_ > 0) {
    --bulk_;
  }
}

void Receiver::payload_came(size_t bytes) {
  done_ += bytes;
  remaining_ -= bytes;
  if (remaining_ > 0) return;
  state_ = State::kTrailer;
  trailer_have_ = 0;
}

bool Receiver::finish_parts() {
  state_ = State::kFrame;
  if (crc_on_) {
    const size_t pad = pad_bytes(ulpdu_);
    crc_.update(trailer_.data(), pad);
    if (crc_.value() != load_le32(trailer_.data() + pad)) {
      handler_.violation(term::kMpaCrc);
      return false;
    }
  }
  return handler_.end();
}

// `at` is where a segment begins that waits: in scratch, or among what is held already.
bool Receiver::hold(const std::byte* at, size_t bytes) {
  if (held_.empty()) {
    held_.assign(at, at + bytes);
    held_at_ = 0;
  } else {
    held_at_ = static_cast<size_t>(at - held_.data());
  }
  return true;
}

bool Receiver::resume() {
  const size_t before = std::exchange(held_at_, held_.size());
  const bool good = feed(held_.data() + before, held_.size() - before);
  if (good && held_at_ < held_.size()) return true;
  held_ = std::vector<std::byte>();  // gives the memory back
  return good;
}

void Receiver::stash(const std::byte* at, size_t bytes) {
  if (stash_ == nullptr) stash_ = std::make_unique_for_overwrite<std::byte[]>(kWholeBytes);
  std::memcpy(stash_.get(), at, bytes);
  stashed_ = bytes;
}

}  // namespace mrpool::uiwarp
