// FPDUs as the hot paths see them: built one by one, received a batch at a time. Without CRC, whose
// code ISA-L chooses by the processor.
//
// Thread safety: one thread; the state is static.
#pragma once

#include <array>
#include <cstdlib>

#include "transport/uiwarp/receiver.h"
#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

inline constexpr size_t kFpduPayload = 64;
inline constexpr size_t kFpdusPerBatch = 16;
inline constexpr size_t kFpduUlpdu = kTaggedHeaderBytes + kFpduPayload;

struct FpduBatch {
  alignas(64) std::array<std::byte, 4096> bytes = {};
  size_t used = 0;

  // One tagged segment: length, header, padding and the place of the CRC.
  void add(uint64_t offset) {
    std::byte* const at = bytes.data() + used;
    store_be16(at, uint16_t(kFpduUlpdu));
    SegmentHeader header;
    header.kind = MessageKind::kWrite;
    header.tagged = true;
    header.last = true;
    header.stag = 0x12345678;
    header.offset = offset;
    encode_segment(header, at + kLengthBytes);
    used += fpdu_bytes(kFpduUlpdu);
  }
};

struct CountingHandler final : SegmentHandler {
  bool begin(const SegmentHeader& header, size_t payload) override {
    offsets += header.offset + payload;
    return true;
  }
  size_t landing(size_t, size_t, std::span<iovec>) override { return 0; }
  bool place(size_t, const std::byte*, size_t) override { return true; }
  bool end() override {
    ++segments;
    return true;
  }
  bool empty_fpdu() override { return false; }
  void violation(const TerminateCode&) override { std::abort(); }
  uint64_t offsets = 0;
  uint64_t segments = 0;
};

}  // namespace mrpool::uiwarp
