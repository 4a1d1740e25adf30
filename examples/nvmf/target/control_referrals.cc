// The methods for referrals, which discovery announces to hosts.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/control.h"
#include "examples/nvmf/target/referral.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::flag;
using control::Given;
using control::object;
using control::Parameter;
using control::required;
using control::Result;
using control::text;

namespace {

std::vector<Parameter> of_referral() {
  return {target_parameter(),
          required(object("address", "of the other service",
                          {required(text("trtype", "RDMA or TCP")),
                           text("adrfam", "IPv4 or IPv6, as traddr is"),
                           required(text("traddr", "a numeric address")),
                           text("trsvcid", "the port, which has no default")})),
          text("subnqn", "default: a discovery service; else the NQN of a subsystem there")};
}

absl::StatusOr<Referral> referral_of(const Given& given) {
  const Given where = given.object("address");
  auto referral = make_referral(where.text("trtype"), where.text("adrfam"), where.text("traddr"),
                                where.text("trsvcid"), given.text("subnqn"));
  if (referral.ok()) {
    referral->secure_channel = given.flag("secure_channel");
    return referral;
  }
  const std::string why(referral.status().message());
  return absl::InvalidArgumentError(absl::StrCat("\"", why.starts_with("subnqn") ? "" : "address.",
                                                 why.substr(0, why.find(':')), "\"",
                                                 why.substr(why.find(':'))));
}

json::object describe(const Referral& referral) {
  json::object address;
  address["trtype"] = absl::AsciiStrToUpper(referral.transport);
  address["adrfam"] = referral.address.find(':') == std::string::npos ? "IPv4" : "IPv6";
  address["traddr"] = referral.address;
  address["trsvcid"] = absl::StrCat(referral.port);
  json::object one;
  one["address"] = std::move(address);
  one["secure_channel"] = referral.secure_channel;
  one["subnqn"] = referral.nqn;
  return one;
}

}  // namespace

json::array referral_calls(const Config& config) {
  json::array all;
  for (const Referral& each : config.referrals) {
    json::object one;
    one["method"] = "nvmf_discovery_add_referral";
    one["params"] = describe(each);
    all.push_back(std::move(one));
  }
  return all;
}

void Control::add_referral_methods() {
  std::vector<Parameter> parameters = of_referral();
  parameters.push_back(flag("secure_channel", "hosts need one there"));
  add_change("nvmf_discovery_add_referral", "announce another discovery service to hosts",
             std::move(parameters), [](const Given& given, Config& config, json::value&) {
               auto referral = referral_of(given);
               if (!referral.ok()) return referral.status();
               const auto there = std::ranges::find_if(config.referrals, [&](const Referral& each) {
                 return same_place(each, *referral);
               });
               if (there != config.referrals.end()) {  // SPDK allows adding it again
                 if (there->secure_channel == referral->secure_channel) return absl::OkStatus();
                 return absl::AlreadyExistsError(
                     absl::StrCat("there is a referral to ", name_of(*referral),
                                  " with another \"secure_channel\"; remove it first"));
               }
               config.referrals.push_back(*std::move(referral));
               return absl::OkStatus();
             });
  add_change(
      "nvmf_discovery_remove_referral", "no longer announce it to hosts", of_referral(),
      [](const Given& given, Config& config, json::value&) {
        const auto referral = referral_of(given);
        if (!referral.ok()) return referral.status();
        if (std::erase_if(config.referrals,
                          [&](const Referral& each) { return same_place(each, *referral); }) > 0) {
          return absl::OkStatus();
        }
        return absl::NotFoundError(absl::StrCat("there is no referral to ", name_of(*referral),
                                                "; nvmf_discovery_get_referrals lists them"));
      });
  add_look("nvmf_discovery_get_referrals", "the referrals that are announced to hosts",
           {target_parameter()}, [this](const Given&) -> Result {
             json::array all;
             for (const Referral& each : config().referrals) all.push_back(describe(each));
             return json::value(std::move(all));
           });
}

}  // namespace mrpool::nvmf_target
