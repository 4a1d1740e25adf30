// The iSER header before every iSCSI PDU (RFC 7145 §9), the Hello exchange, and the private data of
// the connection set-up.
//
// All three headers are 28 bytes. In a command the "write" STag names the initiator's buffer that
// the target reads with RDMA READ, the "read" STag the one it writes with RDMA WRITE. `write_va` is
// the place of the first byte that is *not* sent as unsolicited data: Linux's ib_iser and libiscsi
// advance it past the immediate data, and their peers must do the same.
//
// Thread safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace mrpool::iscsi {

inline constexpr size_t kIserHeaderSize = 28;
using IserOut = std::span<std::byte, kIserHeaderSize>;
using IserIn = std::span<const std::byte, kIserHeaderSize>;

enum class IserOp : uint8_t { kControl = 1, kHello = 2, kHelloReply = 3 };

// The upper half of the first byte; the session judges what is none of the three.
IserOp iser_op(IserIn in);

// Precedes an iSCSI PDU.
struct IserControl {
  bool write_valid = false;
  bool read_valid = false;
  uint32_t write_stag = 0;
  uint64_t write_va = 0;
  uint32_t read_stag = 0;
  uint64_t read_va = 0;

  void encode(IserOut out) const;
  static IserControl decode(IserIn in);
  friend bool operator==(const IserControl&, const IserControl&) = default;
};

inline constexpr uint8_t kIserVersion = 10;  // of RFC 7145; RFC 5046 was 1

struct IserHello {
  uint8_t max_version = kIserVersion;
  uint8_t min_version = kIserVersion;
  uint16_t ird = 0;  // RDMA READs the initiator can serve at once

  void encode(IserOut out) const;
  static IserHello decode(IserIn in);
  friend bool operator==(const IserHello&, const IserHello&) = default;
};

struct IserHelloReply {
  bool reject = false;
  uint8_t max_version = kIserVersion;
  uint8_t version = kIserVersion;
  uint16_t ord = 0;  // RDMA READs the target will have outstanding

  void encode(IserOut out) const;
  static IserHelloReply decode(IserIn in);
  friend bool operator==(const IserHelloReply&, const IserHelloReply&) = default;
};

// The answer to a Hello (RFC 7145 §5.1.3): the highest version both speak, and no more READs than
// the initiator serves. `reject` when no version is common.
IserHelloReply answer_hello(const IserHello& hello, uint16_t own_ord);

// Private data of the connection request and of the reply: four bytes, the first holds the flags.
// Both flags name what the sender does *not* do.
struct ConnectPrivateData {
  bool zero_based_not_used = true;
  bool send_with_inv_not_used = false;

  static constexpr size_t kSize = 4;
  void encode(std::span<std::byte, kSize> out) const;
  // Nothing when the peer sent less than a flag byte: old peers send none, and then neither feature
  // may be used.
  static std::optional<ConnectPrivateData> decode(std::span<const std::byte> in);
  friend bool operator==(const ConnectPrivateData&, const ConnectPrivateData&) = default;
};

}  // namespace mrpool::iscsi
