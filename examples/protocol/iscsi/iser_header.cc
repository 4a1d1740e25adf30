#include "examples/protocol/iscsi/iser_header.h"

#include <algorithm>

#include "examples/base/big_endian.h"

namespace mrpool::iscsi {
namespace {

constexpr uint8_t kWriteValid = 0x08;
constexpr uint8_t kReadValid = 0x04;
constexpr uint8_t kRejectHello = 0x01;
constexpr uint8_t kZeroBasedNotUsed = 0x80;
constexpr uint8_t kSendWithInvNotUsed = 0x40;

std::byte* start(IserOut out, IserOp op, uint8_t flags) {
  std::ranges::fill(out, std::byte{0});
  be::store8(out.data(), uint8_t(uint8_t(op) << 4 | flags));
  return out.data();
}

}  // namespace

IserOp iser_op(IserIn in) { return IserOp(uint8_t(in[0]) >> 4); }

void IserControl::encode(IserOut out) const {
  std::byte* to =
      start(out, IserOp::kControl, (write_valid ? kWriteValid : 0) | (read_valid ? kReadValid : 0));
  be::store32(to + 4, write_stag);
  be::store64(to + 8, write_va);
  be::store32(to + 16, read_stag);
  be::store64(to + 20, read_va);
}

IserControl IserControl::decode(IserIn in) {
  const uint8_t flags = uint8_t(in[0]);
  return {.write_valid = (flags & kWriteValid) != 0,
          .read_valid = (flags & kReadValid) != 0,
          .write_stag = be::load32(&in[4]),
          .write_va = be::load64(&in[8]),
          .read_stag = be::load32(&in[16]),
          .read_va = be::load64(&in[20])};
}

void IserHello::encode(IserOut out) const {
  std::byte* to = start(out, IserOp::kHello, 0);
  be::store8(to + 1, uint8_t(max_version << 4 | (min_version & 0x0f)));
  be::store16(to + 2, ird);
}

IserHello IserHello::decode(IserIn in) {
  return {.max_version = uint8_t(uint8_t(in[1]) >> 4),
          .min_version = uint8_t(uint8_t(in[1]) & 0x0f),
          .ird = be::load16(&in[2])};
}

void IserHelloReply::encode(IserOut out) const {
  std::byte* to = start(out, IserOp::kHelloReply, reject ? kRejectHello : 0);
  be::store8(to + 1, uint8_t(max_version << 4 | (version & 0x0f)));
  be::store16(to + 2, ord);
}

IserHelloReply IserHelloReply::decode(IserIn in) {
  return {.reject = (uint8_t(in[0]) & kRejectHello) != 0,
          .max_version = uint8_t(uint8_t(in[1]) >> 4),
          .version = uint8_t(uint8_t(in[1]) & 0x0f),
          .ord = be::load16(&in[2])};
}

IserHelloReply answer_hello(const IserHello& hello, uint16_t own_ord) {
  const bool common = hello.min_version <= kIserVersion && hello.max_version >= kIserVersion;
  return {.reject = !common,
          .max_version = kIserVersion,
          .version = kIserVersion,
          .ord = std::min(hello.ird, own_ord)};
}

void ConnectPrivateData::encode(std::span<std::byte, kSize> out) const {
  std::ranges::fill(out, std::byte{0});
  be::store8(out.data(), (zero_based_not_used ? kZeroBasedNotUsed : 0) |
                             (send_with_inv_not_used ? kSendWithInvNotUsed : 0));
}

std::optional<ConnectPrivateData> ConnectPrivateData::decode(std::span<const std::byte> in) {
  if (in.empty()) return std::nullopt;
  const uint8_t flags = uint8_t(in[0]);
  return ConnectPrivateData{.zero_based_not_used = (flags & kZeroBasedNotUsed) != 0,
                            .send_with_inv_not_used = (flags & kSendWithInvNotUsed) != 0};
}

}  // namespace mrpool::iscsi
