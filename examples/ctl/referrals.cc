// Referrals: other services that mrpool-nvmf-target's discovery announces to hosts.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "nvmf";

struct Words {
  std::string address;
  std::string nqn;
  bool secure = false;
};

// "tcp://10.0.0.9:8009", "rdma://[::1]:4420"; the daemon checks the parts.
absl::StatusOr<json::object> address_of(const std::string& text) {
  const size_t scheme = text.find("://");
  const size_t colon = text.rfind(':');
  const size_t bracket = text.rfind(']');
  if (scheme == text.npos || colon == scheme || (bracket != text.npos && colon < bracket)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" is not an address; write rdma://10.0.0.9:4420 or tcp://[fd00::9]:8009"));
  }
  json::object address;
  address["trtype"] = text.substr(0, scheme);
  address["traddr"] = json::string(base::host_of(std::string_view(text).substr(scheme + 3)));
  address["trsvcid"] = text.substr(colon + 1);
  return address;
}

absl::Status print_referrals(Conversation& conversation) {
  const auto answer = conversation.ask("nvmf_discovery_get_referrals");
  if (!answer.ok()) return answer.status();
  Table table({"TYPE", "FAMILY", "ADDRESS", ">PORT", "SECURE", "NQN"});
  for (const json::value& each : list(*answer, "")) {
    table.row({shown(each, "address.trtype"), shown(each, "address.adrfam"),
               shown(each, "address.traddr"), shown(each, "address.trsvcid"),
               shown(each, "secure_channel"), shown(each, "subnqn")});
  }
  return conversation.print(*answer, table.text());
}

absl::Status change(Conversation& conversation, const Words& words, const char* method,
                    const char* done) {
  const auto address = address_of(words.address);
  if (!address.ok()) return address.status();
  json::object parameters{{"address", *address}};
  if (!words.nqn.empty()) parameters["subnqn"] = words.nqn;
  if (words.secure) parameters["secure_channel"] = true;
  return conversation.change(method, parameters, absl::StrCat(done, words.address));
}

}  // namespace

void add_referrals(Commands& commands) {
  const auto words = std::make_shared<Words>();
  commands.add("referral-list", "list the referrals that discovery announces", kKind,
               print_referrals);
  base::CommandLine& add = commands.add(
      "referral-add", "announce a discovery service elsewhere", kKind,
      [words](Conversation& conversation) {
        return change(conversation, *words, "nvmf_discovery_add_referral", "discovery announces ");
      });
  base::CommandLine& remove =
      commands.add("referral-remove", "no longer announce a service elsewhere", kKind,
                   [words](Conversation& conversation) {
                     return change(conversation, *words, "nvmf_discovery_remove_referral",
                                   "discovery no longer announces ");
                   });
  for (base::CommandLine* each : {&add, &remove}) {
    each->operand("ADDRESS", "rdma://HOST:PORT or tcp://HOST:PORT, with a numeric host",
                  "tcp://10.0.0.9:8009", words->address);
    each->text("nqn", "TEXT", "of a subsystem there (default: its discovery service)", words->nqn);
  }
  add.flag("secure-channel", "hosts need a secure channel there", words->secure);
}

}  // namespace mrpool::ctl
