// The file of kept reservations, and changes of what was read from it.
//
// Whatever the file holds: it is refused, or written back it is read again as the same. Whatever
// follows: one host writes under an exclusive reservation, a holder is registered, and what would
// be kept can be read again.
#include <iterator>
#include <string>

#include "examples/reservation/registry.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::reservation {
namespace {

constexpr std::string_view kHosts[] = {"a", "b", "c"};

void check(const Registry& state) {
  size_t writers = 0;
  for (const std::string_view host : kHosts) {
    if (state.holds(host)) FUZZ_CHECK(state.find(host) != nullptr);
    if (state.allows(host, Access::kWrite)) {
      ++writers;
      FUZZ_CHECK(state.allows(host, Access::kRead));
    }
    FUZZ_CHECK(state.allows(host, Access::kFree));
  }
  const bool exclusive =
      state.type() == Type::kWriteExclusive || state.type() == Type::kExclusiveAccess;
  FUZZ_CHECK(!exclusive || writers <= 1);
  Registry kept = state;
  kept.set_persistent(true);
  const auto again = Registry::parse(kept.serialize(), &Registry::valid_name);
  FUZZ_CHECK(again && again->serialize() == kept.serialize());
  const auto moved = Registry::parse(state.serialize_all(), &Registry::valid_name);
  FUZZ_CHECK(moved && moved->serialize_all() == state.serialize_all());
}

void change(Registry& state, fuzz::Input& input) {
  const std::string_view who = kHosts[input.take<uint8_t>() % std::size(kHosts)];
  const std::string_view other = kHosts[input.take<uint8_t>() % std::size(kHosts)];
  const uint64_t key = input.take<uint8_t>() % 4;
  const auto type = parse_type(input.take<uint8_t>() % 10);
  const uint32_t before = state.generation();
  Outcome outcome;
  switch (input.take<uint8_t>() % 8) {
    case 0:
      outcome = state.set_key(who, key);
      break;
    case 1:
      outcome = state.leave(who);
      break;
    case 2:
      if (state.find(who) != nullptr) outcome = state.reserve(who, type);
      break;
    case 3:
      outcome = state.release(who, type);
      break;
    case 4:
      if (state.find(who) != nullptr) outcome = state.clear(who);
      break;
    case 5:
      if (state.find(who) != nullptr) outcome = state.move(who, other, key, who != other);
      break;
    default:
      if (state.find(who) != nullptr) outcome = state.preempt(who, key, type, true);
      break;
  }
  FUZZ_CHECK(outcome.changed || state.generation() == before);
  for (const std::string& fenced : outcome.fenced) {
    FUZZ_CHECK(fenced != who && state.find(fenced) == nullptr);
  }
  for (const Notice& notice : outcome.notices) FUZZ_CHECK(notice.who != who);
}

}  // namespace
}  // namespace mrpool::reservation

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = mrpool::fuzz;
  namespace reservation = mrpool::reservation;
  fuzz::Input input(data, size);
  const size_t length = input.take<uint8_t>();
  std::string text;
  while (text.size() < length && !input.empty()) text.push_back(char(input.take<uint8_t>()));
  const auto parsed = reservation::Registry::parse(text, &reservation::Registry::valid_name);
  reservation::Registry state = parsed.value_or(reservation::Registry());
  if (parsed) reservation::check(state);
  for (int i = 0; i < 64 && !input.empty(); ++i) {
    reservation::change(state, input);
    reservation::check(state);
  }
  return 0;
}
