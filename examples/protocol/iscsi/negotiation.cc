#include "examples/protocol/iscsi/negotiation.h"

#include <algorithm>
#include <array>

namespace mrpool::iscsi {
namespace {

enum class Kind : uint8_t {
  kAnd,          // Yes when both say so
  kOr,           // Yes when one says so
  kMinimum,      // the smaller number
  kMaximum,      // the greater number
  kDeclareBool,  // the peer tells, no answer
  kDeclareNumber,
  kNoDigest,  // a list of digests; iSER leaves integrity to the transport
  kIgnored,   // a declaration nothing here depends on
  kTaskReporting,
};

}  // namespace

struct NegotiatedKey {
  std::string_view name;
  Kind kind;
  bool irrelevant_in_discovery = false;
  uint64_t low = 0;
  uint64_t high = 0;
  bool Parameters::*flag = nullptr;
  uint32_t Parameters::*number = nullptr;
};

namespace {

using Key = NegotiatedKey;

constexpr uint64_t kMaxLength = (1u << 24) - 1;
constexpr uint64_t kMax32 = 0xffffffff;

using P = Parameters;
constexpr std::array kKeys = {
    Key{"HeaderDigest", Kind::kNoDigest},
    Key{"DataDigest", Kind::kNoDigest},
    Key{"RDMAExtensions", Kind::kAnd, false, 0, 0, &P::rdma_extensions},
    Key{"InitialR2T", Kind::kOr, true, 0, 0, &P::initial_r2t},
    Key{"ImmediateData", Kind::kAnd, true, 0, 0, &P::immediate_data},
    Key{"DataPDUInOrder", Kind::kOr, true, 0, 0, &P::data_pdu_in_order},
    Key{"DataSequenceInOrder", Kind::kOr, true, 0, 0, &P::data_sequence_in_order},
    Key{"MaxConnections", Kind::kMinimum, true, 1, 65535, nullptr, &P::max_connections},
    Key{"MaxBurstLength", Kind::kMinimum, true, 512, kMaxLength, nullptr, &P::max_burst},
    Key{"FirstBurstLength", Kind::kMinimum, true, 512, kMaxLength, nullptr, &P::first_burst},
    Key{"MaxOutstandingR2T", Kind::kMinimum, true, 1, 65535, nullptr, &P::max_outstanding_r2t},
    Key{"DefaultTime2Wait", Kind::kMaximum, false, 0, 3600, nullptr, &P::time_to_wait},
    Key{"DefaultTime2Retain", Kind::kMinimum, false, 0, 3600, nullptr, &P::time_to_retain},
    Key{"ErrorRecoveryLevel", Kind::kMinimum, false, 0, 2, nullptr, &P::error_recovery_level},
    Key{"iSCSIProtocolLevel", Kind::kMinimum, true, 0, 31, nullptr, &P::protocol_level},
    Key{"InitiatorRecvDataSegmentLength", Kind::kMinimum, false, 512, kMaxLength, nullptr,
        &P::initiator_recv},
    Key{"TargetRecvDataSegmentLength", Kind::kMinimum, false, 512, kMaxLength, nullptr,
        &P::target_recv},
    Key{"MaxRecvDataSegmentLength", Kind::kDeclareNumber, false, 512, kMaxLength, nullptr,
        &P::max_recv},
    Key{"MaxOutstandingUnexpectedPDUs", Kind::kDeclareNumber, false, 0, kMax32, nullptr,
        &P::max_unexpected},
    Key{"MaxAHSLength", Kind::kDeclareNumber, false, 0, kMax32, nullptr, &P::max_ahs},
    Key{"iSERHelloRequired", Kind::kDeclareBool, false, 0, 0, &P::hello_required},
    Key{"TaggedBufferForSolicitedDataOnly", Kind::kDeclareBool},
    Key{"TaskReporting", Kind::kTaskReporting, true},
    Key{"InitiatorAlias", Kind::kIgnored},
};

const Key* find_key(std::string_view name) {
  const auto* found = std::ranges::find(kKeys, name, &Key::name);
  return found == kKeys.end() ? nullptr : found;
}

bool own_flag(const Limits& limits, const Key& key) {
  if (key.flag == &P::initial_r2t) return limits.initial_r2t;
  if (key.flag == &P::immediate_data) return limits.immediate_data;
  return true;
}

uint64_t own_number(const Limits& limits, const Key& key) {
  if (key.number == &P::max_burst) return limits.max_burst;
  if (key.number == &P::first_burst) return limits.first_burst;
  if (key.number == &P::initiator_recv) return limits.initiator_recv;
  if (key.number == &P::target_recv) return limits.target_recv;
  if (key.number == &P::time_to_wait) return 2;
  // One connection, one R2T, level 0 and nothing retained: there is nothing to recover a session
  // from when its connection is gone.
  if (key.number == &P::time_to_retain || key.number == &P::error_recovery_level) return 0;
  return 1;
}

bool lists(std::string_view value, std::string_view member) {
  const std::vector<std::string_view> members = split_list(value);
  return std::ranges::find(members, member) != members.end();
}

}  // namespace

void Responder::foresee(std::span<const KeyValue> request) {
  if (!parameters_.initial_r2t) return;  // decided, by what was known then
  for (const KeyValue& pair : request) {
    const Key* key = find_key(pair.key);
    const std::optional<uint64_t> theirs = parse_number(pair.value);
    if (key == nullptr || !theirs || *theirs < key->low || *theirs > key->high) continue;
    const auto result = uint32_t(std::min(*theirs, own_number(limits_, *key)));
    if (key->number == &P::first_burst) first_burst_ = result;
    if (key->number == &P::target_recv) target_recv_ = result;
  }
}

// Unsolicited Data-Outs land in receives that were counted beforehand. Where a burst may be longer
// than that InitialR2T stays Yes: an initiator that does not name FirstBurstLength sends up to the
// default of the RFC, whatever this side's limit is.
bool Responder::takes_unsolicited(uint64_t first_burst, uint64_t target_recv) const {
  return first_burst <= limits_.first_burst &&
         (limits_.unsolicited_pdus == 0 || first_burst <= limits_.unsolicited_pdus * target_recv);
}

bool Responder::settle_flag(const Key& key, std::string_view value, TextWriter& reply) {
  const std::optional<bool> theirs = parse_bool(value);
  if (!theirs) return false;
  bool ours = own_flag(limits_, key);
  if (key.flag == &P::initial_r2t && !takes_unsolicited(first_burst_, target_recv_)) ours = true;
  const bool result = key.kind == Kind::kAnd ? *theirs && ours : *theirs || ours;
  parameters_.*key.flag = result;
  reply.add(key.name, format_bool(result));
  return true;
}

bool Responder::settle_number(const Key& key, std::string_view value, TextWriter& reply) {
  const std::optional<uint64_t> theirs = parse_number(value);
  if (!theirs || *theirs < key.low || *theirs > key.high) return false;
  const uint64_t ours = own_number(limits_, key);
  const uint64_t result =
      key.kind == Kind::kMinimum ? std::min(*theirs, ours) : std::max(*theirs, ours);
  // Once bursts need no R2T no other length may make them longer than what was agreed to.
  if (!parameters_.initial_r2t &&
      !takes_unsolicited(key.number == &P::first_burst ? result : first_burst_,
                         key.number == &P::target_recv ? result : target_recv_)) {
    return false;
  }
  parameters_.*key.number = uint32_t(result);
  reply.add(key.name, result);
  return true;
}

bool Responder::take_flag(const Key& key, std::string_view value) {
  const std::optional<bool> theirs = parse_bool(value);
  if (!theirs) return false;
  (key.flag != nullptr ? parameters_.*key.flag : parameters_.tagged_solicited_only) = *theirs;
  return true;
}

bool Responder::take_number(const Key& key, std::string_view value) {
  const std::optional<uint64_t> theirs = parse_number(value);
  if (!theirs || *theirs < key.low || *theirs > key.high) return false;
  parameters_.*key.number = uint32_t(*theirs);
  if (key.number == &P::max_unexpected) knows_unexpected_ = true;
  return true;
}

bool Responder::settle(const Key& key, std::string_view value, TextWriter& reply) {
  const auto choose = [&](std::string_view only) {
    if (!lists(value, only)) return false;
    reply.add(key.name, only);
    return true;
  };
  switch (key.kind) {
    case Kind::kAnd:
    case Kind::kOr:
      return settle_flag(key, value, reply);
    case Kind::kMinimum:
    case Kind::kMaximum:
      return settle_number(key, value, reply);
    case Kind::kDeclareBool:
      return take_flag(key, value);
    case Kind::kDeclareNumber:
      return take_number(key, value);
    case Kind::kNoDigest:
      return choose("None");
    case Kind::kTaskReporting:
      return choose("RFC3720");
    case Kind::kIgnored:
      return true;
  }
  return false;
}

KeyResult Responder::answer(const KeyValue& pair, TextWriter& reply) {
  const Key* key = find_key(pair.key);
  if (key == nullptr) {
    reply.add(pair.key, "NotUnderstood");
    return KeyResult::kNotUnderstood;
  }
  if (discovery_ && key->irrelevant_in_discovery) {
    reply.add(pair.key, "Irrelevant");
    return KeyResult::kAnswered;
  }
  if (settle(*key, pair.value, reply)) return KeyResult::kAnswered;
  reply.add(pair.key, "Reject");
  return KeyResult::kRejected;
}

void Responder::declare(TextWriter& reply) {
  if (declared_) return;
  declared_ = true;
  if (!parameters_.rdma_extensions) {
    reply.add("MaxRecvDataSegmentLength", uint64_t{limits_.target_recv});
  } else if (knows_unexpected_) {
    reply.add("MaxOutstandingUnexpectedPDUs", uint64_t{limits_.max_unexpected});
  }
}

std::optional<std::string> Responder::conclude() {
  // RFC 7143 §13.14: FirstBurstLength must not exceed MaxBurstLength.
  parameters_.first_burst = std::min(parameters_.first_burst, parameters_.max_burst);
  // InitialR2T's default is Yes; where it was never named both sides go by that.
  if (!discovery_ && !parameters_.rdma_extensions) {
    return "a normal session over RDMA needs RDMAExtensions=Yes";
  }
  return std::nullopt;
}

std::string offer(const Limits& limits, bool discovery) {
  TextWriter text;
  text.add("HeaderDigest", "None");
  text.add("DataDigest", "None");
  text.add("ErrorRecoveryLevel", "0");
  text.add("DefaultTime2Wait", "2");
  text.add("DefaultTime2Retain", "0");
  text.add("RDMAExtensions", "Yes");
  text.add("InitiatorRecvDataSegmentLength", uint64_t{limits.initiator_recv});
  text.add("TargetRecvDataSegmentLength", uint64_t{limits.target_recv});
  text.add("MaxOutstandingUnexpectedPDUs", uint64_t{limits.max_unexpected});
  if (discovery) return text.take();
  text.add("InitialR2T", format_bool(limits.initial_r2t));
  text.add("ImmediateData", format_bool(limits.immediate_data));
  text.add("MaxBurstLength", uint64_t{limits.max_burst});
  text.add("FirstBurstLength", uint64_t{limits.first_burst});
  text.add("MaxOutstandingR2T", "1");
  text.add("MaxConnections", "1");
  text.add("DataPDUInOrder", "Yes");
  text.add("DataSequenceInOrder", "Yes");
  return text.take();
}

std::optional<std::string> accept(const Limits& limits, std::span<const KeyValue> answers,
                                  Parameters& parameters) {
  for (const KeyValue& pair : answers) {
    const auto refuse = [&] {
      return "the target answered " + std::string(pair.key) + "=" + std::string(pair.value);
    };
    const Key* key = find_key(pair.key);
    if (key == nullptr) continue;  // TargetPortalGroupTag, TargetAlias and the like
    if (pair.value == "Irrelevant") continue;
    if (key->kind == Kind::kNoDigest) {
      if (pair.value != "None") return refuse();
    } else if (key->flag != nullptr) {
      const std::optional<bool> value = parse_bool(pair.value);
      if (!value) return refuse();
      const bool ours = own_flag(limits, *key);
      // The result of AND cannot be more, of OR not less than this side's offer.
      if (key->kind == Kind::kAnd && *value && !ours) return refuse();
      if (key->kind == Kind::kOr && !*value && ours) return refuse();
      parameters.*key->flag = *value;
    } else if (key->number != nullptr) {
      const std::optional<uint64_t> value = parse_number(pair.value);
      if (!value || *value < key->low || *value > key->high) return refuse();
      if (key->kind == Kind::kMinimum && *value > own_number(limits, *key)) return refuse();
      parameters.*key->number = uint32_t(*value);
    }
  }
  return std::nullopt;
}

}  // namespace mrpool::iscsi
