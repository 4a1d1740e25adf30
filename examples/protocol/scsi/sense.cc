#include "examples/protocol/scsi/sense.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

constexpr uint8_t kFixed = 0x70;
constexpr uint8_t kDescriptor = 0x72;
constexpr size_t kFixedSize = 18;
constexpr size_t kDescriptorHeader = 8;
// Of a copy's sense in fixed format: what the copy source or destination answered, at this byte.
constexpr size_t kForwardedAt = kFixedSize;
constexpr uint8_t kInformationType = 0x00, kCommandType = 0x01, kFieldType = 0x02,
                  kForwardedType = 0x0c;

// The three bytes of SENSE KEY SPECIFIC for a field pointer (SPC-4 §4.5.2.4.2), or for a segment
// pointer (§4.5.2.4.5).
void store_field_pointer(const Sense& sense, uint8_t* to) {
  to[0] = 0x80 | (sense.field_in_cdb ? 0x40 : 0) | (sense.field_in_segment ? 0x20 : 0);
  be::store16(to + 1, *sense.field);
}

void load_field_pointer(const uint8_t* from, Sense& sense) {
  if ((from[0] & 0x80) == 0) return;
  sense.field = be::load16(from + 1);
  sense.field_in_cdb = (from[0] & 0x40) != 0;
  sense.field_in_segment = (from[0] & 0x20) != 0;
}

bool with_sense(const Forwarded& forwarded) { return forwarded.status == Status::kCheckCondition; }

// The status byte, and sense data in fixed format.
size_t store_forwarded(const Forwarded& forwarded, uint8_t* to) {
  to[0] = uint8_t(forwarded.status);
  if (!with_sense(forwarded)) return 1;
  to[1] = kFixed;
  to[1 + 2] = uint8_t(forwarded.key);
  to[1 + 7] = kFixedSize - 8;
  to[1 + 12] = forwarded.asc;
  to[1 + 13] = forwarded.ascq;
  return 1 + kFixedSize;
}

size_t encode_fixed(const Sense& sense, uint8_t* out) {
  // INFORMATION has four bytes in this format; VALID is set when they have a value.
  const bool valid = sense.information && *sense.information <= 0xffffffff;
  out[0] = kFixed | (valid ? 0x80 : 0);
  out[2] = uint8_t(sense.key);
  if (valid) be::store32(out + 3, uint32_t(*sense.information));
  out[7] = kFixedSize - 8;
  out[12] = sense.asc;
  out[13] = sense.ascq;
  if (sense.field) store_field_pointer(sense, out + 15);
  if (sense.segment) be::store16(out + 10, *sense.segment);
  if (sense.forwarded.by == Forwarded::By::kNobody) return kFixedSize;
  // COMMAND-SPECIFIC INFORMATION: where the answer of either is.
  out[sense.forwarded.by == Forwarded::By::kSource ? 8 : 9] = kForwardedAt;
  const size_t size = kForwardedAt + store_forwarded(sense.forwarded, out + kForwardedAt);
  out[7] = uint8_t(size - 8);
  return size;
}

// Sense data of eight bytes in descriptor format.
size_t append_forwarded(const Forwarded& forwarded, uint8_t* to) {
  to[0] = kForwardedType;
  to[2] = uint8_t(forwarded.by);
  to[3] = uint8_t(forwarded.status);
  size_t size = 4;
  if (with_sense(forwarded)) {
    to[4] = kDescriptor;
    to[5] = uint8_t(forwarded.key);
    to[6] = forwarded.asc;
    to[7] = forwarded.ascq;
    size += kDescriptorHeader;
  }
  to[1] = uint8_t(size - 2);
  return size;
}

size_t encode_descriptor(const Sense& sense, uint8_t* out) {
  out[0] = kDescriptor;
  out[1] = uint8_t(sense.key);
  out[2] = sense.asc;
  out[3] = sense.ascq;
  size_t size = kDescriptorHeader;
  if (sense.information) {
    uint8_t* to = out + size;
    to[0] = kInformationType;
    to[1] = 0x0a;
    to[2] = 0x80;  // VALID
    be::store64(to + 4, *sense.information);
    size += 12;
  }
  if (sense.segment) {
    uint8_t* to = out + size;
    to[0] = kCommandType;
    to[1] = 0x0a;
    be::store16(to + 6, *sense.segment);  // the third and fourth byte, as in fixed format
    size += 12;
  }
  if (sense.field) {
    uint8_t* to = out + size;
    to[0] = kFieldType;
    to[1] = 0x06;
    store_field_pointer(sense, to + 4);
    size += 8;
  }
  if (sense.forwarded.by != Forwarded::By::kNobody) {
    size += append_forwarded(sense.forwarded, out + size);
  }
  out[7] = uint8_t(size - kDescriptorHeader);
  return size;
}

const char* key_name(SenseKey key) {
  switch (key) {
    case SenseKey::kNoSense:
      return "no sense";
    case SenseKey::kNotReady:
      return "not ready";
    case SenseKey::kMediumError:
      return "medium error";
    case SenseKey::kHardwareError:
      return "hardware error";
    case SenseKey::kIllegalRequest:
      return "illegal request";
    case SenseKey::kUnitAttention:
      return "unit attention";
    case SenseKey::kDataProtect:
      return "data protect";
    case SenseKey::kCopyAborted:
      return "copy aborted";
    case SenseKey::kAbortedCommand:
      return "aborted command";
    case SenseKey::kMiscompare:
      return "miscompare";
  }
  return "another sense key";
}

// What an initiator meets most (SPC-4 annex F.2); the numbers are printed in any case.
struct Meaning {
  Sense sense;
  const char* text;
};
constexpr Meaning kMeanings[] = {
    {kInvalidOpcode, "invalid command operation code"},
    {kLbaOutOfRange, "logical block address out of range"},
    {kInvalidFieldInCdb, "invalid field in CDB"},
    {kLunNotSupported, "logical unit not supported"},
    {kInvalidFieldInParameters, "invalid field in parameter list"},
    {kTooManyCopyUnits, "too many target descriptors"},
    {kUnknownCopyUnit, "unsupported target descriptor type code"},
    {kTooManySegments, "too many segment descriptors"},
    {kUnknownSegment, "unsupported segment descriptor type code"},
    {kInlineDataLength, "inline data length exceeded"},
    {kUnreachableCopyTarget, "unreachable copy target"},
    {kThirdPartyFailure, "third party device failure"},
    {kCopyUnitNotReachable, "copy target device not reachable"},
    {kWrongCopyUnitType, "incorrect copy target device type"},
    {kInexactSegment, "unexpected inexact segment"},
    {kStopped, "initializing command required"},
    {kPortUnavailable, "the LUN is in ALUA state unavailable"},
    {kPortStandby, "the LUN is in ALUA state standby"},
    {kAccessTransition, "the LUN is in ALUA state transitioning"},
    {kWriteProtected, "write protected"},
    {kSpaceAllocationFailed, "space allocation failed"},
    {kReadError, "unrecovered read error"},
    {kWriteError, "write error"},
    {kInternalFailure, "internal target failure"},
    {kMiscompare, "miscompare during verify operation"},
    {kDataTransferError, "data phase error"},
};

}  // namespace

std::string to_string(const Sense& sense) {
  const auto* known = std::ranges::find_if(
      kMeanings, [&](const Meaning& meaning) { return meaning.sense.same_code(sense); });
  std::array<char, 16> numbers;
  std::snprintf(numbers.data(), numbers.size(), "%x/%02x/%02x", unsigned(sense.key), sense.asc,
                sense.ascq);
  return absl::StrCat(key_name(sense.key), known == std::end(kMeanings) ? "" : ", ",
                      known == std::end(kMeanings) ? "" : known->text, " (", numbers.data(), ")");
}

size_t encode(const Sense& sense, bool descriptor_format, std::span<uint8_t, kMaxSenseSize> out) {
  std::ranges::fill(out, uint8_t{0});
  return descriptor_format ? encode_descriptor(sense, out.data()) : encode_fixed(sense, out.data());
}

namespace {

std::optional<Sense> decode_fixed(std::span<const uint8_t> in) {
  if (in.size() < 14) return std::nullopt;
  Sense sense{SenseKey(in[2] & 0x0f), in[12], in[13]};
  if ((in[0] & 0x80) != 0) sense.information = be::load32(&in[3]);
  if (in.size() >= kFixedSize) load_field_pointer(&in[15], sense);
  if (sense.key != SenseKey::kCopyAborted) return sense;
  sense.segment = be::load16(&in[10]);
  for (const bool source : {true, false}) {
    const uint8_t at = in[source ? 8 : 9];
    if (at == 0 || at >= in.size()) continue;
    Forwarded& forwarded = sense.forwarded;
    forwarded.by = source ? Forwarded::By::kSource : Forwarded::By::kDestination;
    forwarded.status = Status(in[at]);
    const auto inner = in.subspan(at + 1);
    if (!with_sense(forwarded) || inner.size() < 14) continue;
    forwarded.key = SenseKey(inner[2] & 0x0f);
    forwarded.asc = inner[12];
    forwarded.ascq = inner[13];
  }
  return sense;
}

// A descriptor with its header of two bytes.
void decode_descriptor(std::span<const uint8_t> one, Sense& sense) {
  if (one[0] == kInformationType && one.size() >= 12) sense.information = be::load64(&one[4]);
  if (one[0] == kCommandType && one.size() >= 12 && sense.key == SenseKey::kCopyAborted) {
    sense.segment = be::load16(&one[6]);
  }
  if (one[0] == kFieldType && one.size() >= 8) load_field_pointer(&one[4], sense);
  if (one[0] != kForwardedType || one.size() < 4) return;
  Forwarded& forwarded = sense.forwarded;
  const uint8_t by = one[2] & 0x0f;
  if (by != 1 && by != 2) return;
  forwarded.by = Forwarded::By(by);
  forwarded.status = Status(one[3]);
  if (!with_sense(forwarded) || one.size() < 8) return;
  forwarded.key = SenseKey(one[5] & 0x0f);
  forwarded.asc = one[6];
  forwarded.ascq = one[7];
}

}  // namespace

std::optional<Sense> decode_sense(std::span<const uint8_t> in) {
  if (in.size() < kDescriptorHeader) return std::nullopt;
  const uint8_t format = in[0] & 0x7f;
  if (format == kFixed || format == kFixed + 1) return decode_fixed(in);
  if (format != kDescriptor && format != kDescriptor + 1) return std::nullopt;
  Sense sense{SenseKey(in[1] & 0x0f), in[2], in[3]};
  size_t at = kDescriptorHeader;
  while (at + 2 <= in.size() && at + 2 + in[at + 1] <= in.size()) {
    decode_descriptor(in.subspan(at, size_t{2} + in[at + 1]), sense);
    at += 2 + in[at + 1];
  }
  return sense;
}

}  // namespace mrpool::scsi
