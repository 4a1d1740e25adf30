// The records of a group of gateways: entries (key, text) of one object that all gateways read and
// change by guarded writes.
//
//   owner-GROUP    "1 TERM OWNER CLIENT"   who owns a group; "1 TERM" when nobody does
//   beat-GROUP     "TERM.NUMBER"           another text after every renewal of the owner's lease
//   fences-GROUP   "1 CLIENT..."           clients to fence before anybody serves the group
//   member-GATEWAY "1 BEAT STATE"          a gateway that runs; STATE: ready, unfit, leaving
//   pr-UUID        reservations of a namespace (the protocols' own text)
//
// A text of owner-GROUP never returns: a term has one owner, and the next owner has a higher term.
// So a guard that compares it is a guard on the term. Only renewals change beat-GROUP, so this text
// stays the same while a term lasts. An entry that is missing counts as an empty text.
//
// Thread safety: pure functions and values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::gateway {

using Records = std::map<std::string, std::string, std::less<>>;

struct Entry {
  std::string key;
  std::string text;
};

// All `sets` happen at once, or none of them: only if every key of `guards` has that text then. A
// guard with an empty text also matches a missing key.
struct GuardedWrite {
  std::vector<Entry> guards;
  std::vector<Entry> sets;
};

enum class Written : uint8_t {
  kDone,
  kRefused,  // a guard did not match; nothing has changed
  kUnknown,  // no answer: it has happened, or will, or never does
};

struct OwnerRecord {
  uint64_t term = 0;
  std::string owner{};   // empty: nobody
  std::string client{};  // the owner's client of the group; empty without an owner
};

enum class MemberState : uint8_t { kReady, kUnfit, kLeaving };
struct MemberRecord {
  uint64_t beat = 0;
  MemberState state = MemberState::kReady;
};

// A name of a gateway, a group or a client: 1 to 255 printable ASCII characters without spaces.
bool valid_name(std::string_view name);

std::string owner_key(std::string_view group);
std::string beat_key(std::string_view group);
std::string fences_key(std::string_view group);
std::string member_key(std::string_view gateway);
std::string beat_text(uint64_t term, uint64_t number);
std::string reservations_key(std::string_view uuid);
// The gateway of a member's key; nothing: another key.
std::optional<std::string_view> member_of_key(std::string_view key);

// The text of a record. An empty text is parsed as a record without content.
std::string serialize(const OwnerRecord& record);
std::string serialize(const MemberRecord& record);
std::string serialize_fences(const std::vector<std::string>& clients);
// Nothing: not what serialize() writes.
std::optional<OwnerRecord> parse_owner(std::string_view text);
std::optional<MemberRecord> parse_member(std::string_view text);
std::optional<std::vector<std::string>> parse_fences(std::string_view text);

// The text of `key`; empty when it is missing.
std::string_view text_of(const Records& records, std::string_view key);

}  // namespace mrpool::gateway
