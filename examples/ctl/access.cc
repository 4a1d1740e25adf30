// ANA states of mrpool-nvmf-target: how well hosts reach the namespaces of each group through each
// listener.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"
#include "mrpool/device.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "nvmf";
constexpr const char* kNqn = "nqn.2026-11.org.example:disk";

struct Words {
  std::string nqn;
  std::string address;
  std::string state;
  uint32_t group = 0;  // 0: all
};

// The daemon checks it too; this refuses it without a connection.
constexpr const char* kStates = "optimized, non_optimized, inaccessible, persistent_loss or change";
absl::Status check_state(std::string_view text) {
  constexpr std::string_view kAll[] = {"optimized", "non_optimized", "inaccessible",
                                       "persistent_loss", "change"};
  if (std::ranges::find(kAll, text) != std::end(kAll)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text), "' is not a state; use ", kStates));
}

absl::Status print_states(Conversation& conversation, const std::string& nqn) {
  const auto answer = conversation.ask("nvmf_subsystem_get_listeners", {{"nqn", nqn}});
  if (!answer.ok()) return answer.status();
  Table table({"ADDRESS", ">PORT", ">GROUP", "STATE"});
  for (const json::value& each : list(*answer, "")) {
    for (const json::value& group : list(each, "ana_states")) {
      table.row({shown(each, "address.traddr"), shown(each, "address.trsvcid"),
                 shown(group, "ana_group"), shown(group, "ana_state")});
    }
  }
  return conversation.print(*answer, table.text());
}

absl::Status set_state(Conversation& conversation, const Words& words) {
  if (words.state.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--state is missing: ", kStates));
  }
  json::object parameters{{"nqn", words.nqn}, {"ana_state", words.state}};
  if (words.group != 0) parameters["anagrpid"] = words.group;
  if (!words.address.empty()) {
    const auto address = Address::parse(words.address);
    if (!address.ok()) return address.status();
    parameters["listen_address"] = listen_address(*address);
  }
  return conversation.change(
      "nvmf_subsystem_listener_set_ana_state", parameters,
      absl::StrCat(words.group == 0 ? "all groups" : absl::StrCat("group ", words.group), " at ",
                   words.address.empty() ? "all listeners" : words.address, ": ", words.state));
}

}  // namespace

void add_access(Commands& commands) {
  const auto words = std::make_shared<Words>();
  base::CommandLine& show = commands.add(
      "ana-list", "list the ANA state of each group at each listener", kKind,
      [words](Conversation& conversation) { return print_states(conversation, words->nqn); });
  base::CommandLine& set =
      commands.add("ana-set", "set the ANA state of groups; hosts learn it at once", kKind,
                   [words](Conversation& conversation) { return set_state(conversation, *words); });
  for (base::CommandLine* each : {&show, &set}) {
    each->operand("NQN", "the subsystem's name", kNqn, words->nqn);
  }
  set.required("--state STATE");
  set.option("state", "STATE", kStates, [words](std::string_view text) {
    words->state = text;
    return check_state(text);
  });
  set.count("group", "the ANA group (default: all)", words->group, {.least = 1});
  set.option("address", "ADDRESS", "the listener, as uiwarp://HOST:PORT (default: all)",
             [words](std::string_view text) {
               words->address = text;
               return Address::parse(text).status();
             });
}

}  // namespace mrpool::ctl
