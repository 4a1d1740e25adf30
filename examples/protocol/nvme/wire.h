// NVMe and NVMe over Fabrics as bytes: what target and initiator both speak.
//
// What it is: submission and completion queue entries, SGL descriptors, the Fabrics commands and
// the private data of an RDMA connection, each a struct of exactly the size it has on the wire.
// Identify pages, log pages, the discovery log and the Connect data come from libnvme
// (<nvme/types.h>); their fields are little endian integers, read and written through le().
//
// Clauses: [base] NVM Express Base 1.4/2.0, [fab] NVMe over Fabrics 1.1, [nvm] NVM Command Set 1.0.
// Thread safety: values. Units: bytes unless the name has another unit; fields named *0 are zero
// based.
#pragma once

#include <nvme/types.h>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "examples/protocol/nvme/status.h"
#include "mrpool/types.h"

namespace mrpool::nvme {

// Converts between the machine's order and little endian; its own inverse.
template <std::unsigned_integral T>
constexpr T le(T value) {
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    return value;
  } else {
    T out = 0;
    for (size_t i = 0; i < sizeof(T); ++i) out = T(out << 8) | T((value >> (8 * i)) & 0xff);
    return out;
  }
}

// A little endian integer at any alignment.
template <std::unsigned_integral T>
class Le {
 public:
  constexpr Le() = default;
  constexpr Le(T value) { *this = value; }  // NOLINT: converts as the integer it stands for
  constexpr Le& operator=(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_[i] = uint8_t(value >> (8 * i));
    return *this;
  }
  constexpr operator T() const {  // NOLINT
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= T(T(bytes_[i]) << (8 * i));
    return value;
  }

 private:
  uint8_t bytes_[sizeof(T)] = {};
};
using Le16 = Le<uint16_t>;
using Le32 = Le<uint32_t>;
using Le64 = Le<uint64_t>;

// SGL descriptors, [base] 4.4 and [fab] 2.3. The identifier byte is type << 4 | sub type.
enum class SglType : uint8_t {
  kDataBlock = 0x0,
  kBitBucket = 0x1,
  kSegment = 0x2,
  kLastSegment = 0x3,
  kKeyedDataBlock = 0x4,
  kTransport = 0x5,
};
enum class SglSubtype : uint8_t {
  kAddress = 0x0,
  kOffset = 0x1,      // in the capsule, counted from the end of the SQE
  kInvalidate = 0xf,  // keyed: the controller invalidates the key with its response
};
constexpr uint8_t sgl_identifier(SglType type, SglSubtype subtype) {
  return uint8_t(uint8_t(type) << 4 | uint8_t(subtype));
}

struct SglDescriptor {
  Le64 address;
  uint8_t specific[7] = {};
  uint8_t identifier = 0;

  SglType type() const { return SglType(identifier >> 4); }
  SglSubtype subtype() const { return SglSubtype(identifier & 0xf); }

  // Data block, segment and last segment.
  uint32_t length() const { return load32(specific); }
  // Keyed data block: 24 bits of length, 32 of key.
  uint32_t keyed_length() const { return load32(specific) & 0xffffff; }
  Rkey key() const { return Rkey{load32(specific + 3)}; }
  RemoteBuffer remote() const { return {RemoteAddr{address}, keyed_length(), key()}; }

  static SglDescriptor in_capsule(uint64_t offset, uint32_t length) {
    return plain(SglType::kDataBlock, SglSubtype::kOffset, offset, length);
  }
  // Points at descriptors that follow the SQE in its capsule.
  static SglDescriptor last_segment(uint64_t offset, uint32_t length) {
    return plain(SglType::kLastSegment, SglSubtype::kOffset, offset, length);
  }
  static constexpr uint32_t kMaxKeyedLength = 0xffffff;
  // Requires buffer.length <= kMaxKeyedLength.
  static SglDescriptor keyed(const RemoteBuffer& buffer, bool invalidate) {
    SglDescriptor d;
    d.address = buffer.addr.value;
    store32(d.specific + 3, buffer.rkey.value);
    d.specific[0] = uint8_t(buffer.length);
    d.specific[1] = uint8_t(buffer.length >> 8);
    d.specific[2] = uint8_t(buffer.length >> 16);
    d.identifier = sgl_identifier(SglType::kKeyedDataBlock,
                                  invalidate ? SglSubtype::kInvalidate : SglSubtype::kAddress);
    return d;
  }

 private:
  static uint32_t load32(const uint8_t* p) {
    return uint32_t(p[0]) | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24;
  }
  static void store32(uint8_t* p, uint32_t v) {
    for (int i = 0; i < 4; ++i) p[i] = uint8_t(v >> (8 * i));
  }
  static SglDescriptor plain(SglType type, SglSubtype subtype, uint64_t offset, uint32_t length) {
    SglDescriptor d;
    d.address = offset;
    store32(d.specific, length);
    d.identifier = sgl_identifier(type, subtype);
    return d;
  }
};
static_assert(sizeof(SglDescriptor) == 16);

// Flags byte of an SQE, [base] 4.2.
inline constexpr uint8_t kFuseMask = 0x03;
enum class Fuse : uint8_t { kNone = 0, kFirst = 1, kSecond = 2, kReserved = 3 };
inline constexpr uint8_t kPsdtMask = 0xc0;
inline constexpr uint8_t kPsdtSgl = 0x40;  // SGL for the data, metadata contiguous or none

// The SQE of every command but the Fabrics ones.
struct Sqe {
  uint8_t opcode = 0;
  uint8_t flags = 0;
  Le16 command_id;
  Le32 nsid;
  Le32 cdw2;
  Le32 cdw3;
  Le64 metadata;
  SglDescriptor sgl;
  Le32 cdw10;
  Le32 cdw11;
  Le32 cdw12;
  Le32 cdw13;
  Le32 cdw14;
  Le32 cdw15;

  Fuse fuse() const { return Fuse(flags & kFuseMask); }
  // Read, Write, Compare, Write Zeroes ([nvm] 3.2): first block and number of blocks.
  uint64_t slba() const { return uint64_t(uint32_t(cdw11)) << 32 | uint32_t(cdw10); }
  uint32_t blocks() const { return (uint32_t(cdw12) & 0xffff) + 1; }
  void set_range(uint64_t first_block, uint32_t block_count) {
    cdw10 = uint32_t(first_block);
    cdw11 = uint32_t(first_block >> 32);
    cdw12 = (uint32_t(cdw12) & ~0xffffu) | ((block_count - 1) & 0xffff);
  }
};
static_assert(sizeof(Sqe) == 64);

struct Cqe {
  Le64 result;
  Le16 sq_head;
  Le16 sq_id;
  Le16 command_id;
  Le16 status_field;  // status << 1 | phase; no phase in Fabrics

  Status status() const { return Status(uint16_t(status_field) >> 1); }
  void set_status(Status status) { status_field = uint16_t(uint16_t(status) << 1); }
};
static_assert(sizeof(Cqe) == 16);

// CDW12 of Read and Write.
inline constexpr uint32_t kCdw12Fua = 1u << 30;
inline constexpr uint32_t kCdw12LimitedRetry = 1u << 31;
inline constexpr uint32_t kCdw12Deallocate = 1u << 25;  // Write Zeroes
inline constexpr uint32_t kCdw12PrinfoMask = 0xfu << 26;

// Admin, [base] 5. What the target does with them: kAdminCommands in
// examples/nvmf/target/admin_commands.cc.
enum class AdminOpcode : uint8_t {
  kDeleteSq = 0x00,
  kCreateSq = 0x01,
  kGetLogPage = 0x02,
  kDeleteCq = 0x04,
  kCreateCq = 0x05,
  kIdentify = 0x06,
  kAbort = 0x08,
  kSetFeatures = 0x09,
  kGetFeatures = 0x0a,
  kAsyncEventRequest = 0x0c,
  kKeepAlive = 0x18,
  kFormat = 0x80,
};
inline constexpr uint8_t kFabricsOpcode = 0x7f;

// I/O, [nvm] 3. What the target does with them: kCommands in examples/nvmf/target/io_command.cc.
enum class IoOpcode : uint8_t {
  kFlush = 0x00,
  kWrite = 0x01,
  kRead = 0x02,
  kWriteUncorrectable = 0x04,
  kCompare = 0x05,
  kWriteZeroes = 0x08,
  kDatasetManagement = 0x09,
  kVerify = 0x0c,
  kReservationRegister = 0x0d,
  kReservationReport = 0x0e,
  kReservationAcquire = 0x11,
  kReservationRelease = 0x15,
  kCopy = 0x19,
};

// Format NVM, [base] 5.14 (1.4: 5.23): CDW10.
constexpr uint32_t lba_format(uint32_t cdw10) { return (cdw10 & 0xf) | (cdw10 >> 8 & 0x30); }
// Metadata settings and protection information.
constexpr uint32_t format_protection(uint32_t cdw10) { return cdw10 >> 4 & 0x1f; }
enum class SecureErase : uint8_t { kNone = 0, kUserData = 1, kCryptographic = 2 };
constexpr SecureErase secure_erase(uint32_t cdw10) { return SecureErase(cdw10 >> 9 & 7); }

// Copy, [nvm] 3.2.2: CDW12.
constexpr uint32_t copy_ranges(uint32_t cdw12) { return (cdw12 & 0xff) + 1; }
constexpr uint32_t copy_format(uint32_t cdw12) { return cdw12 >> 8 & 0xf; }

// Reservation commands, [base] 7.2 to 7.5: CDW10 and CDW11.
inline constexpr uint32_t kReservationActionMask = 7;
inline constexpr uint32_t kIgnoreExistingKey = 1u << 3;
enum class RegisterAction : uint8_t { kRegister = 0, kUnregister = 1, kReplace = 2 };
enum class AcquireAction : uint8_t { kAcquire = 0, kPreempt = 1, kPreemptAndAbort = 2 };
enum class ReleaseAction : uint8_t { kRelease = 0, kClear = 1 };
constexpr uint32_t reservation_type(uint32_t cdw10) { return cdw10 >> 8 & 0xff; }
// CPTPL: change of what survives power loss.
enum class ChangePersistence : uint8_t { kNone = 0, kReserved = 1, kClear = 2, kSet = 3 };
constexpr ChangePersistence change_persistence(uint32_t cdw10) {
  return ChangePersistence(cdw10 >> 30);
}
inline constexpr uint32_t kExtendedReport = 1u << 0;  // CDW11 of Reservation Report
struct ReservationKeys {
  Le64 current;
  Le64 other;  // Register: the new one; Acquire: the one to preempt; Release: not there
};
static_assert(sizeof(ReservationKeys) == 16);

// Which way a command's data goes: bits 1:0 of every opcode, [base] 4.2 (Fabrics: of its type).
enum class DataDirection : uint8_t { kNone = 0, kToController = 1, kToHost = 2, kBoth = 3 };
constexpr DataDirection data_direction(uint8_t opcode) { return DataDirection(opcode & 3); }

// Fabrics commands, [fab] 3.
enum class FabricsType : uint8_t {
  kPropertySet = 0x00,
  kConnect = 0x01,
  kPropertyGet = 0x04,
  kAuthSend = 0x05,
  kAuthReceive = 0x06,
  kDisconnect = 0x08,
};

struct FabricsCommand {
  uint8_t opcode = kFabricsOpcode;
  uint8_t flags = kPsdtSgl;
  Le16 command_id;
  FabricsType type = FabricsType::kPropertySet;
  uint8_t reserved[59] = {};
};
static_assert(sizeof(FabricsCommand) == 64);

// [fab] 3.3
struct ConnectCommand {
  uint8_t opcode = kFabricsOpcode;
  uint8_t flags = kPsdtSgl;
  Le16 command_id;
  FabricsType type = FabricsType::kConnect;
  uint8_t reserved5[19] = {};
  SglDescriptor sgl;
  Le16 record_format;
  Le16 queue_id;
  Le16 sq_size0;  // entries, zero based
  uint8_t attributes = 0;
  uint8_t reserved47 = 0;
  Le32 keep_alive_ms;
  uint8_t reserved52[12] = {};
};
static_assert(sizeof(ConnectCommand) == 64);
static_assert(offsetof(ConnectCommand, sgl) == 24 && offsetof(ConnectCommand, keep_alive_ms) == 48);
inline constexpr uint8_t kConnectDisableSqFlow = 1u << 2;
inline constexpr uint16_t kDynamicController = 0xffff;
// Bits of the result of Connect above the controller's id: the host must authenticate on this queue
// (AUTHREQ.ATR), and then establish a secure channel (AUTHREQ.ASCR).
inline constexpr uint32_t kConnectMustAuthenticate = 1u << 17;
inline constexpr uint32_t kConnectMustSecure = 1u << 18;

using ConnectData = nvmf_connect_data;
static_assert(sizeof(ConnectData) == 1024);

// A Connect Response with status kConnectInvalidParameters, [fab] 3.3: result bits 15:0 hold the
// offset of the bad byte, bits 23:16 whether it lies in the data (1) or the command (0).
constexpr uint64_t connect_invalid_parameter(bool in_data, uint16_t offset) {
  return uint64_t(offset) | (in_data ? uint64_t{1} << 16 : 0);
}

// Authentication Send and Receive, [fab] 3.1, 3.2.
struct AuthCommand {
  uint8_t opcode = kFabricsOpcode;
  uint8_t flags = kPsdtSgl;
  Le16 command_id;
  FabricsType type = FabricsType::kAuthSend;
  uint8_t reserved5[19] = {};
  SglDescriptor sgl;
  uint8_t reserved40 = 0;
  uint8_t specific0 = 0;  // SPSP0
  uint8_t specific1 = 0;
  uint8_t security_protocol = 0;  // SECP
  Le32 length;                    // of the data
  uint8_t reserved48[16] = {};
};
static_assert(sizeof(AuthCommand) == 64 && offsetof(AuthCommand, length) == 44);

// [fab] 3.4, 3.5
struct PropertyCommand {
  uint8_t opcode = kFabricsOpcode;
  uint8_t flags = kPsdtSgl;
  Le16 command_id;
  FabricsType type = FabricsType::kPropertyGet;
  uint8_t reserved5[35] = {};
  uint8_t attributes = 0;  // kPropertySize8 for eight bytes
  uint8_t reserved41[3] = {};
  Le32 offset;
  Le64 value;  // Set only
  uint8_t reserved56[8] = {};
};
static_assert(sizeof(PropertyCommand) == 64);
static_assert(offsetof(PropertyCommand, value) == 48);
inline constexpr uint8_t kPropertySize8 = 1;

// Controller properties, [fab] 3.5 and [base] 3.1.
enum class Property : uint32_t { kCap = 0x00, kVs = 0x08, kCc = 0x14, kCsts = 0x1c, kNssr = 0x20 };
inline constexpr uint32_t kCcEnable = 1u << 0;
inline constexpr uint32_t kCcShutdownMask = 3u << 14;
inline constexpr uint32_t kCcShutdownNormal = 1u << 14;
inline constexpr uint32_t kCstsReady = 1u << 0;
inline constexpr uint32_t kCstsFatal = 1u << 1;
inline constexpr uint32_t kCstsShutdownOccurring = 1u << 2;
inline constexpr uint32_t kCstsShutdownComplete = 2u << 2;
// CC as every initiator sets it: 64-byte SQEs, 16-byte CQEs.
inline constexpr uint32_t kCcEntrySizes = 6u << 16 | 4u << 20;

// Private data of an RDMA connection, [fab] 7.3 (RDMA transport binding). All reserved bytes zero.
struct RdmaRequest {
  Le16 record_format;
  Le16 queue_id;
  Le16 host_receive_size;  // entries of the host's receive queue
  Le16 host_send_size0;    // entries of its send queue, zero based
  Le16 controller_id;      // later revisions; 0 or what Connect will say
  uint8_t reserved[22] = {};
};
struct RdmaAccept {
  Le16 record_format;
  Le16 controller_receive_size;
  uint8_t reserved[28] = {};
};
struct RdmaReject {
  Le16 record_format;
  Le16 status;
};
static_assert(sizeof(RdmaRequest) == 32 && sizeof(RdmaAccept) == 32 && sizeof(RdmaReject) == 4);

enum class RdmaStatus : uint16_t {
  kInvalidLength = 0x01,
  kInvalidRecordFormat = 0x02,
  kInvalidQueueId = 0x03,
  kInvalidHostSendSize = 0x04,
  kInvalidHostReceiveSize = 0x05,
  kNoResources = 0x06,
  kInvalidIrd = 0x07,
  kInvalidOrd = 0x08,
  kInvalidControllerId = 0x09,
};
std::string_view to_string(RdmaStatus status);

// "Read", "Set Features", "Connect"; "I/O command 0x99". `admin`: it is of an admin queue.
std::string name_of(const Sqe& command, bool admin);

inline constexpr std::string_view kDiscoveryNqn = "nqn.2014-08.org.nvmexpress.discovery";
inline constexpr size_t kNqnFieldBytes = 256;
inline constexpr size_t kMaxNqnBytes = 223;
inline constexpr uint32_t kBroadcastNsid = 0xffffffff;
inline constexpr uint16_t kDefaultPort = 4420;
inline constexpr uint16_t kMinQueueEntries = 2;
inline constexpr uint16_t kMinAdminQueueEntries = 32;

// An NQN as [base] 7.9 allows it: 1..223 bytes of "nqn.yyyy-mm.reverse.domain[:name]" or the UUID
// form. Checks what a comparison needs, not who owns the domain.
bool valid_nqn(std::string_view nqn);
// The string in a fixed, zero-padded field; empty when the field has no terminator.
std::string_view field_string(std::span<const char> field);
// Copies `text`, padded with zeroes; cuts what does not fit.
void set_field(std::span<char> field, std::string_view text);
// The same, padded with blanks, as the ASCII fields of Identify are.
void set_blank_padded(std::span<char> field, std::string_view text);

// Structs as the bytes of a buffer, and back.
template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <typename T>
T read_struct(std::span<const std::byte> bytes) {  // requires bytes.size() >= sizeof(T)
  T value;
  std::memcpy(static_cast<void*>(&value), bytes.data(), sizeof(T));
  return value;
}

static_assert(sizeof(nvme_id_ctrl) == 4096 && sizeof(nvme_id_ns) == 4096);
static_assert(sizeof(nvme_smart_log) == 512 && sizeof(nvme_error_log_page) == 64);
static_assert(sizeof(nvme_cmd_effects_log) == 4096 && sizeof(nvme_firmware_slot) == 512);
static_assert(sizeof(nvmf_disc_log_entry) == 1024 && sizeof(nvmf_discovery_log) == 1024);
static_assert(sizeof(nvme_copy_range) == 32);
static_assert(sizeof(nvme_dsm_range) == 16 && sizeof(nvme_supported_log_pages) == 1024);

}  // namespace mrpool::nvme
