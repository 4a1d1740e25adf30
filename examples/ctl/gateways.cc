// The group of gateways that a daemon is of.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

absl::Status print_group(Conversation& conversation) {
  const auto answer = conversation.ask("mrpool_gateway_get_group");
  if (!answer.ok()) return answer.status();
  const std::string others = shown(*answer, "members");
  std::string text = absl::StrCat("gateway ", shown(*answer, "name"),
                                  "; others that run: ", others.empty() ? "none" : others, "\n");
  if (const std::string failure = shown(*answer, "failure"); failure != "-") {
    absl::StrAppend(&text, "the cluster does not answer: ", failure, "\n");
  }
  Table table({">GROUP", "OWNER", ">TERM", "HERE", ">LEASE ms", ">TAKEOVERS", ">LOSSES", ">FENCES",
               ">LAST ms"});
  std::string problems;
  for (const json::value& each : list(*answer, "groups")) {
    const std::string owner = shown(each, "owner");
    table.row({shown(each, "group"), owner.empty() ? "-" : owner, shown(each, "term"),
               shown(each, "state"), shown(each, "lease_left_ms"), shown(each, "takeovers"),
               shown(each, "losses"), shown(each, "fences"), shown(each, "last_takeover_ms")});
    if (const std::string problem = shown(each, "problem"); problem != "-") {
      absl::StrAppend(&problems, "group ", shown(each, "group"), ": ", problem, "\n");
    }
  }
  return conversation.print(*answer, absl::StrCat(text, table.text(), problems));
}

}  // namespace

void add_gateways(Commands& commands) {
  commands.add("gateway-show", "show the group of gateways: members, owners, terms, takeovers",
               "nvmf", print_group);
}

}  // namespace mrpool::ctl
