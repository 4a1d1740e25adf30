#include "transport/checker/received_bytes.h"

#include <array>
#include <charconv>

#include "absl/strings/str_format.h"

namespace mrpool::checker {
namespace {

struct Explanation {
  const char* operation;
  const char* completion;
};
// By ReceivedBytes::Brought.
constexpr std::array kExplanations{
    Explanation{"an RDMA WRITE of the peer",
                "the completion of the receive that the peer's next SEND, or WRITE with immediate "
                "data, on that QP completes"},
    Explanation{"an RDMA READ or an atomic", "its own completion"},
    Explanation{"a SEND of the peer", "the completion of the receive that it came for"},
};

constexpr std::string_view kWord = "mrpool-received:";
constexpr size_t kFields = 5;

}  // namespace

std::string origin_of(const ReceivedBytes& bytes) {
  const Explanation& why = kExplanations[static_cast<size_t>(bytes.brought)];
  return absl::StrFormat("%s over QP 0x%x; %s orders it and was not polled yet", why.operation,
                         bytes.qp, why.completion);
}

std::string text_of(std::string_view how, uintptr_t address, const ReceivedBytes& bytes) {
  return absl::StrFormat("%s byte %u of MR lkey 0x%x (%u bytes at 0x%x), which came by %s",
                         absl::string_view(how.data(), how.size()), address - bytes.region,
                         bytes.lkey, bytes.region_bytes, bytes.region, origin_of(bytes));
}

std::string to_word(const ReceivedBytes& bytes) {
  return absl::StrFormat("%s%x,%x,%x,%x,%x", absl::string_view(kWord.data(), kWord.size()),
                         static_cast<unsigned>(bytes.brought), bytes.qp, bytes.region,
                         bytes.region_bytes, bytes.lkey);
}

std::optional<FoundBytes> find_word(std::string_view text) {
  const size_t begin = text.find(kWord);
  if (begin == std::string_view::npos) return std::nullopt;
  std::array<uint64_t, kFields> fields{};
  const char* at = text.data() + begin + kWord.size();
  const char* const end = text.data() + text.size();
  for (size_t i = 0; i < kFields; ++i) {
    if (i > 0 && (at == end || *at++ != ',')) return std::nullopt;
    const auto [next, error] = std::from_chars(at, end, fields[i], 16);
    if (error != std::errc{}) return std::nullopt;
    at = next;
  }
  const auto [brought, qp, region, region_bytes, lkey] = fields;
  if (brought >= kExplanations.size() || qp > UINT32_MAX || lkey > UINT32_MAX) return std::nullopt;
  return FoundBytes{.bytes = {.brought = static_cast<ReceivedBytes::Brought>(brought),
                              .qp = static_cast<uint32_t>(qp),
                              .region = region,
                              .region_bytes = region_bytes,
                              .lkey = static_cast<uint32_t>(lkey)},
                    .begin = begin,
                    .end = static_cast<size_t>(at - text.data())};
}

}  // namespace mrpool::checker
