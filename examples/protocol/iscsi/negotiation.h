// The operational parameters of a session and their negotiation (RFC 7143 §13, RFC 7145 §6): one
// table of keys, a responder for targets, an offer and its conclusion for initiators.
//
// Thread safety: values. Units: lengths in bytes, times in seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "examples/protocol/iscsi/text.h"

namespace mrpool::iscsi {

// The defaults are those of the RFCs: what holds when a key is never named.
struct Parameters {
  bool rdma_extensions = false;
  bool initial_r2t = true;
  bool immediate_data = true;
  bool data_pdu_in_order = true;
  bool data_sequence_in_order = true;
  uint32_t max_connections = 1;
  uint32_t max_burst = 262144;
  uint32_t first_burst = 65536;
  uint32_t max_outstanding_r2t = 1;
  uint32_t time_to_wait = 2;
  uint32_t time_to_retain = 20;
  uint32_t error_recovery_level = 0;
  uint32_t protocol_level = 1;
  uint32_t initiator_recv = 8192;  // InitiatorRecvDataSegmentLength
  uint32_t target_recv = 8192;     // TargetRecvDataSegmentLength
  uint32_t max_recv = 8192;        // the peer's MaxRecvDataSegmentLength, without iSER
  // What the peer declared; 0: it set no bound.
  uint32_t max_unexpected = 0;
  uint32_t max_ahs = 256;
  bool hello_required = false;
  // Whether the write STag covers only what is solicited. Nothing: the peer did not negotiate it,
  // and does as Linux and libiscsi do (iser_header.h).
  std::optional<bool> tagged_solicited_only;

  friend bool operator==(const Parameters&, const Parameters&) = default;
};

// What one side brings to the table.
struct Limits {
  bool initial_r2t = true;  // insist on it
  bool immediate_data = true;
  uint32_t max_burst = 1 << 20;
  uint32_t first_burst = 65536;
  uint32_t initiator_recv = 8192;
  uint32_t target_recv = 8192;
  uint32_t max_unexpected = 16;  // MaxOutstandingUnexpectedPDUs of this side
  // PDUs of unsolicited data this side takes of one command, immediate data among them; 0: any.
  uint32_t unsolicited_pdus = 0;
};

enum class KeyResult : uint8_t {
  kAnswered,      // `reply` has the answer, or the key wants none
  kRejected,      // the value is outside what the key allows; "Reject" was answered
  kNotUnderstood  // "NotUnderstood" was answered
};

struct NegotiatedKey;  // a row of the table in negotiation.cc

// The target's side. Feed it every operational key of a login; it answers in the order of the keys
// and narrows `parameters`.
class Responder {
 public:
  Responder(const Limits& limits, bool discovery) : limits_(limits), discovery_(discovery) {}

  // All keys of a request, before each of them is answered: the result of InitialR2T depends on
  // lengths that may follow it.
  void foresee(std::span<const KeyValue> request);
  KeyResult answer(const KeyValue& pair, TextWriter& reply);
  // What the target declares of itself, once, with its last answers. Keys of RFC 7145 are named
  // only to initiators that name them: open-iscsi ends the login at a key it does not know.
  void declare(TextWriter& reply);
  // Settles what depends on other keys. Nothing, or why the login cannot go on.
  std::optional<std::string> conclude();
  const Parameters& parameters() const { return parameters_; }

 private:
  bool takes_unsolicited(uint64_t first_burst, uint64_t target_recv) const;
  // Each: false for a value outside what the key allows.
  bool settle(const NegotiatedKey& key, std::string_view value, TextWriter& reply);
  bool settle_flag(const NegotiatedKey& key, std::string_view value, TextWriter& reply);
  bool settle_number(const NegotiatedKey& key, std::string_view value, TextWriter& reply);
  bool take_flag(const NegotiatedKey& key, std::string_view value);
  bool take_number(const NegotiatedKey& key, std::string_view value);

  Limits limits_;
  bool discovery_;
  bool declared_ = false;
  uint32_t first_burst_ = Parameters{}.first_burst;  // as the keys foreseen will settle them
  uint32_t target_recv_ = Parameters{}.target_recv;
  bool knows_unexpected_ = false;  // the initiator named MaxOutstandingUnexpectedPDUs
  Parameters parameters_;
};

// The initiator's side: the keys it offers, and what came of them.
std::string offer(const Limits& limits, bool discovery);
// Applies the target's answers. Nothing, or the answer this side cannot accept.
std::optional<std::string> accept(const Limits& limits, std::span<const KeyValue> answers,
                                  Parameters& parameters);

}  // namespace mrpool::iscsi
