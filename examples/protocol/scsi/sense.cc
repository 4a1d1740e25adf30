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

// The three bytes of SENSE KEY SPECIFIC for a field pointer (SPC-4 §4.5.2.4.2).
void store_field_pointer(const Sense& sense, uint8_t* to) {
  to[0] = 0x80 | (sense.field_in_cdb ? 0x40 : 0);
  be::store16(to + 1, *sense.field);
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
  return kFixedSize;
}

size_t encode_descriptor(const Sense& sense, uint8_t* out) {
  out[0] = kDescriptor;
  out[1] = uint8_t(sense.key);
  out[2] = sense.asc;
  out[3] = sense.ascq;
  size_t size = kDescriptorHeader;
  if (sense.information) {
    uint8_t* to = out + size;
    to[0] = 0x00;
    to[1] = 0x0a;
    to[2] = 0x80;  // VALID
    be::store64(to + 4, *sense.information);
    size += 12;
  }
  if (sense.field) {
    uint8_t* to = out + size;
    to[0] = 0x02;
    to[1] = 0x06;
    store_field_pointer(sense, to + 4);
    size += 8;
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

std::optional<Sense> decode_sense(std::span<const uint8_t> in) {
  if (in.size() < kDescriptorHeader) return std::nullopt;
  const uint8_t format = in[0] & 0x7f;
  if (format == kFixed || format == kFixed + 1) {
    if (in.size() < 14) return std::nullopt;
    Sense sense{SenseKey(in[2] & 0x0f), in[12], in[13]};
    if ((in[0] & 0x80) != 0) sense.information = be::load32(&in[3]);
    if (in.size() >= kFixedSize && (in[15] & 0x80) != 0) {
      sense.field = be::load16(&in[16]);
      sense.field_in_cdb = (in[15] & 0x40) != 0;
    }
    return sense;
  }
  if (format != kDescriptor && format != kDescriptor + 1) return std::nullopt;
  Sense sense{SenseKey(in[1] & 0x0f), in[2], in[3]};
  size_t at = kDescriptorHeader;
  while (at + 2 <= in.size() && at + 2 + in[at + 1] <= in.size()) {
    if (in[at] == 0x00 && in[at + 1] >= 10) sense.information = be::load64(&in[at + 4]);
    if (in[at] == 0x02 && in[at + 1] >= 6 && (in[at + 4] & 0x80) != 0) {
      sense.field = be::load16(&in[at + 5]);
      sense.field_in_cdb = (in[at + 4] & 0x40) != 0;
    }
    at += 2 + in[at + 1];
  }
  return sense;
}

}  // namespace mrpool::scsi
