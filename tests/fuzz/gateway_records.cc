// The records of a group of gateways, and a gateway that gets them.
//
// Whatever a text is: it is refused, or written back it is the same text. Whatever records and
// results a gateway gets, in any order: it serves only with a lease, its own text of a term in its
// guard, and it never asks for a wake-up in the past.
#include <optional>
#include <string>
#include <vector>

#include "examples/gateway/ownership.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::gateway {
namespace {

constexpr const char* kKeys[] = {"owner-1", "beat-1",   "fences-1", "owner-2",
                                 "beat-2",  "fences-2", "member-b", "member-c"};

void check_texts(const std::string& text) {
  if (const auto record = parse_owner(text)) {
    FUZZ_CHECK(text.empty() || serialize(*record) == text);
  }
  if (const auto record = parse_member(text)) FUZZ_CHECK(serialize(*record) == text);
  if (const auto clients = parse_fences(text)) FUZZ_CHECK(serialize_fences(*clients) == text);
}

Written apply(Records& records, const GuardedWrite& write) {
  for (const Entry& guard : write.guards) {
    if (text_of(records, guard.key) != guard.text) return Written::kRefused;
  }
  for (const Entry& entry : write.sets) records[entry.key] = entry.text;
  return Written::kDone;
}

class Run {
 public:
  explicit Run(fuzz::Input& input) : input_(input) {}

  void step() {
    const uint8_t choice = input_.take<uint8_t>();
    switch (choice % 8) {
      case 0:
        records_[kKeys[input_.take<uint8_t>() % std::size(kKeys)]] = text();
        break;
      case 1:
        now_ += std::chrono::milliseconds(10 * input_.take<uint8_t>());
        gateway_.wake(now_);
        break;
      case 2:
        gateway_.fenced(now_, choice & 8 ? "1" : "2");
        break;
      case 3:
        if (choice == 3) gateway_.leave(now_);
        break;
      default:
        answer(choice & 8);
        break;
    }
    check();
  }

 private:
  std::string text() {
    const size_t length = input_.take<uint8_t>() % 32;
    std::string text;
    while (text.size() < length && !input_.empty()) text.push_back(char(input_.take<uint8_t>()));
    check_texts(text);
    return text;
  }
  void answer(bool good) {
    for (Action& action : gateway_.take_actions()) actions_.push_back(std::move(action));
    if (actions_.empty()) return;
    const size_t which = input_.take<uint8_t>() % actions_.size();
    const Action action = actions_[which];
    actions_.erase(actions_.begin() + std::ptrdiff_t(which));
    using Kind = Action::Kind;
    switch (action.kind) {
      case Kind::kRead:
        gateway_.read_done(now_, action.id, good ? std::optional(records_) : std::nullopt);
        break;
      case Kind::kWrite:
        gateway_.write_done(now_, action.id,
                            good ? apply(records_, action.write) : Written::kUnknown);
        break;
      case Kind::kConnect:
        gateway_.connected(now_, action.id, good ? "a#" + std::to_string(action.id) : "");
        break;
      case Kind::kFence:
        gateway_.fence_done(now_, action.id, good);
        break;
      case Kind::kPrepare:
        gateway_.prepared(now_, action.id, good);
        break;
      case Kind::kDrain:
        gateway_.drained(now_, action.id, good);
        break;
      default:
        break;
    }
  }
  void check() {
    FUZZ_CHECK(gateway_.next_wake() > now_);
    for (const char* group : {"1", "2"}) {
      if (!gateway_.may_serve(group, now_)) continue;
      FUZZ_CHECK(gateway_.state(group) == State::kServing);
      const auto guard = gateway_.guard(group);
      FUZZ_CHECK(guard);
      const auto record = parse_owner(guard->text);
      FUZZ_CHECK(record && record->owner == "a" && record->term == gateway_.term(group));
    }
  }

  fuzz::Input& input_;
  Records records_;
  Nanoseconds now_ = std::chrono::seconds(1);
  Ownership gateway_{"a", {"1", "2"}, {}, now_};
  std::vector<Action> actions_;
};

}  // namespace
}  // namespace mrpool::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace gateway = mrpool::gateway;
  gateway::check_texts(std::string(mrpool::fuzz::text_of(data, size)));
  mrpool::fuzz::Input input(data, size);
  gateway::Run run(input);
  for (int i = 0; i < 4096 && !input.empty(); ++i) run.step();
  return 0;
}
