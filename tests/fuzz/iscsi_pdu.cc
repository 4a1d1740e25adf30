// The headers of iSCSI and iSER: any 48 bytes decode as any PDU. Encoding and decoding the result
// again gives the same values. Both decoders return the same common fields.
#include <algorithm>
#include <array>

#include "examples/protocol/iscsi/iser_header.h"
#include "examples/protocol/iscsi/pdu.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::iscsi {
namespace {

template <typename Pdu>
void round_trip(BhsIn bytes) {
  const Pdu pdu = Pdu::decode(bytes);
  std::array<std::byte, kBhsSize> out;
  out.fill(std::byte{0xee});  // every byte is written
  pdu.encode(out);
  FUZZ_CHECK(Pdu::decode(out) == pdu);
  std::array<std::byte, kBhsSize> again;
  again.fill(std::byte{0x11});
  pdu.encode(again);
  FUZZ_CHECK(out == again);
  const CommonHeader common = decode_common(out);
  FUZZ_CHECK(common.ahs_bytes() <= 255 * 4);
  if constexpr (requires { pdu.data_length; }) {
    FUZZ_CHECK(pdu.data_length <= 0xffffff && common.data_length == pdu.data_length);
  }
  if constexpr (requires { pdu.task_tag; }) FUZZ_CHECK(common.task_tag == pdu.task_tag);
  FUZZ_CHECK(to_string(common.op).find("unknown") == std::string_view::npos);
}

void headers(std::span<const std::byte, kIserHeaderSize> bytes) {
  std::array<std::byte, kIserHeaderSize> out;
  const auto check = [&](const auto& header, IserOp op) {
    out.fill(std::byte{0xee});
    header.encode(out);
    FUZZ_CHECK(std::remove_cvref_t<decltype(header)>::decode(out) == header);
    FUZZ_CHECK(iser_op(out) == op);
  };
  check(IserControl::decode(bytes), IserOp::kControl);
  check(IserHelloReply::decode(bytes), IserOp::kHelloReply);
  const IserHello hello = IserHello::decode(bytes);
  check(hello, IserOp::kHello);
  const IserHelloReply reply = answer_hello(hello, 16);
  FUZZ_CHECK(reply.reject || (hello.min_version <= reply.version &&
                              reply.version <= hello.max_version && reply.ord <= hello.ird));
  FUZZ_CHECK(reply.ord <= 16);
}

void run(const uint8_t* data, size_t size) {
  std::array<std::byte, kIserHeaderSize + kBhsSize> message{};
  const auto bytes = fuzz::bytes_of(data, std::min(size, message.size()));
  std::ranges::copy(bytes, message.begin());
  const auto bhs = std::span<const std::byte>(message).subspan<kIserHeaderSize, kBhsSize>();
  headers(std::span<const std::byte>(message).first<kIserHeaderSize>());
  round_trip<ScsiCommand>(bhs);
  round_trip<ScsiResponse>(bhs);
  round_trip<TaskRequest>(bhs);
  round_trip<TaskResponse>(bhs);
  round_trip<DataOut>(bhs);
  round_trip<LoginRequest>(bhs);
  round_trip<LoginResponse>(bhs);
  round_trip<TextRequest>(bhs);
  round_trip<TextResponse>(bhs);
  round_trip<NopOut>(bhs);
  round_trip<NopIn>(bhs);
  round_trip<LogoutRequest>(bhs);
  round_trip<LogoutResponse>(bhs);
  round_trip<AsyncMessage>(bhs);
  round_trip<Reject>(bhs);
  const auto private_data =
      ConnectPrivateData::decode(fuzz::bytes_of(data, std::min<size_t>(size, 8)));
  FUZZ_CHECK(private_data.has_value() == (size > 0));
}

}  // namespace
}  // namespace mrpool::iscsi

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::iscsi::run(data, size);
  return 0;
}
