#include "examples/gateway/records.h"

#include <algorithm>
#include <charconv>

namespace mrpool::gateway {

namespace {

constexpr std::string_view kVersion = "1";
constexpr std::string_view kMember = "member-";
constexpr std::string_view kStates[] = {"ready", "unfit", "leaving"};  // by MemberState

std::string joined(std::string_view prefix, std::string_view name) {
  return std::string(prefix).append(name);
}

// The words of a record, one space between two. Nothing: not such a text, or another version.
std::optional<std::vector<std::string_view>> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    if (!valid_name(word)) return std::nullopt;
    words.push_back(word);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (words.front() != kVersion) return std::nullopt;
  words.erase(words.begin());
  return words;
}

// As std::to_string() writes it.
std::optional<uint64_t> parse_number(std::string_view word) {
  uint64_t number = 0;
  const char* end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  if (word.size() > 1 && word.front() == '0') return std::nullopt;
  return number;
}

}  // namespace

bool valid_name(std::string_view name) {
  constexpr size_t kLongest = 255;
  return !name.empty() && name.size() <= kLongest &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

std::string owner_key(std::string_view group) { return joined("owner-", group); }
std::string beat_key(std::string_view group) { return joined("beat-", group); }
std::string fences_key(std::string_view group) { return joined("fences-", group); }
std::string member_key(std::string_view gateway) { return joined(kMember, gateway); }
std::string reservations_key(std::string_view uuid) { return joined("pr-", uuid); }

std::string beat_text(uint64_t term, uint64_t number) {
  return std::to_string(term) + '.' + std::to_string(number);
}

std::optional<std::string_view> member_of_key(std::string_view key) {
  if (!key.starts_with(kMember)) return std::nullopt;
  key.remove_prefix(kMember.size());
  if (!valid_name(key)) return std::nullopt;
  return key;
}

std::string serialize(const OwnerRecord& record) {
  std::string text = joined(kVersion, " ") + std::to_string(record.term);
  if (!record.owner.empty())
    text.append(" ").append(record.owner).append(" ").append(record.client);
  return text;
}

std::string serialize(const MemberRecord& record) {
  return joined(kVersion, " ") + std::to_string(record.beat) + ' ' +
         std::string(kStates[size_t(record.state)]);
}

std::string serialize_fences(const std::vector<std::string>& clients) {
  if (clients.empty()) return {};
  std::string text(kVersion);
  for (const std::string& client : clients) text.append(" ").append(client);
  return text;
}

std::optional<OwnerRecord> parse_owner(std::string_view text) {
  if (text.empty()) return OwnerRecord();
  const auto words = words_of(text);
  if (!words || (words->size() != 1 && words->size() != 3)) return std::nullopt;
  const auto term = parse_number(words->front());
  if (!term) return std::nullopt;
  OwnerRecord record{.term = *term};
  if (words->size() == 3) {
    record.owner = (*words)[1];
    record.client = (*words)[2];
  }
  return record;
}

std::optional<MemberRecord> parse_member(std::string_view text) {
  const auto words = words_of(text);
  if (!words || words->size() != 2) return std::nullopt;
  const auto beat = parse_number(words->front());
  const auto* state = std::ranges::find(kStates, words->back());
  if (!beat || state == std::end(kStates)) return std::nullopt;
  return MemberRecord{.beat = *beat, .state = MemberState(state - std::begin(kStates))};
}

std::optional<std::vector<std::string>> parse_fences(std::string_view text) {
  if (text.empty()) return std::vector<std::string>();
  const auto words = words_of(text);
  if (!words || words->empty()) return std::nullopt;
  return std::vector<std::string>(words->begin(), words->end());
}

std::string_view text_of(const Records& records, std::string_view key) {
  const auto found = records.find(key);
  return found == records.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace mrpool::gateway
