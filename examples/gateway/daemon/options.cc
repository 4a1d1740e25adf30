#include "examples/gateway/daemon/options.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/json_object.h"
#include "examples/gateway/records.h"
#include "examples/storage/records.h"
#include "examples/storage/spec.h"

namespace mrpool::gateway {
namespace {

constexpr uint32_t kMostGroups = 128;
constexpr base::DurationRange kRejoin{.most = std::chrono::hours(1)};
constexpr base::DurationRange kLease{.least = kLeastLease, .most = kLongestLease};

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

void declare_options(base::CommandLine& program, Options& options) {
  program.option("gateway-group", "OBJECT",
                 "serve as one of several gateways; their records are in this object of the\n"
                 "Ceph cluster, rbd:POOL/OBJECT[,conf=FILE][,id=USER][,namespace=NAME]",
                 [&options](std::string_view text) {
                   options.storage = text;
                   return storage::Records::parse(text).status();
                 });
  program.text("gateway-name", "TEXT",
               "of this gateway, unlike that of the others (default: the machine's name)",
               options.name);
  program.duration("gateway-lease",
                   "after it a gateway that the cluster does not hear stops serving", options.lease,
                   kLease);
  program.duration("gateway-rejoin",
                   "before groups move to a gateway that has started, so that hosts reach it",
                   options.rejoin, kRejoin);
  program.count("gateway-groups",
                "ANA groups, the same at all gateways (default: those of the namespaces)",
                options.groups, {.least = 1, .most = kMostGroups});
}

void read_options(base::JsonObject& object, Options& options) {
  object.object("gateway_group", [&options](base::JsonObject& each) {
    each.text("storage", options.storage);
    each.text("name", options.name);
    each.duration("lease", options.lease, kLease);
    each.duration("rejoin", options.rejoin, kRejoin);
    each.number("groups", options.groups, {.least = 1, .most = kMostGroups});
    if (options.storage.empty()) {
      return each.refuse("storage", "is missing; write rbd:POOL/OBJECT");
    }
    if (const auto spec = storage::Records::parse(options.storage); !spec.ok()) {
      each.refuse("storage", std::string(spec.status().message()));
    }
  });
}

void write_options(const Options& options, boost::json::object& to) {
  if (!options.any()) return;
  boost::json::object group;
  group["storage"] = options.storage;
  if (!options.name.empty()) group["name"] = options.name;
  if (options.lease != kDefaultLease) {
    group["lease"] = absl::StrCat(options.lease / std::chrono::milliseconds(1), "ms");
  }
  if (options.rejoin != Times().rejoin) {
    group["rejoin"] = absl::StrCat(options.rejoin / std::chrono::milliseconds(1), "ms");
  }
  if (options.groups != 0) group["groups"] = options.groups;
  to["gateway_group"] = std::move(group);
}

absl::Status complete(Options& options) {
  if (!options.any()) {
    if (options == Options()) return absl::OkStatus();
    return bad("a gateway's options need --gateway-group, or \"storage\" in \"gateway_group\"");
  }
  if (options.name.empty()) {
    std::array<char, HOST_NAME_MAX + 1> name{};
    (void)::gethostname(name.data(), name.size() - 1);
    options.name = name.data();
  }
  if (valid_name(options.name)) return absl::OkStatus();
  return bad("\"", options.name,
             "\" is not a gateway's name; write 1 to 255 printable characters without spaces");
}

Times times_of(const Options& options) {
  Times times;
  times.lease = options.lease;
  times.rejoin = options.rejoin;
  times.renew = times.poll = options.lease / 4;
  return times;
}

absl::StatusOr<std::string> store_of(const Options& options, uint32_t group,
                                     const std::string& store) {
  const auto records = storage::Records::parse(options.storage);
  if (!records.ok()) return records.status();
  auto spec = storage::parse_spec(store);
  if (!spec.ok()) return spec.status();
  if (spec->scheme != "rbd") {
    return bad(store, " is not an image of the cluster; all gateways serve images of it (rbd:)");
  }
  if (spec->find("client") != nullptr) {
    return bad(store, ": client= is the gateway's own; leave it out");
  }
  for (const char* const name : {"conf", "id"}) {
    const storage::StoreSpec::Option* const theirs = records->find(name);
    const storage::StoreSpec::Option* const own = spec->find(name);
    if (own == nullptr && theirs != nullptr) spec->options.push_back(*theirs);
    if (own != nullptr && (theirs == nullptr || own->value != theirs->value)) {
      return bad(store, ": ", name, "= is not that of the gateways' records, ", options.storage,
                 "; write the same in both");
    }
  }
  spec->options.push_back({"client", absl::StrCat(group), true});
  return storage::to_text(*spec);
}

}  // namespace mrpool::gateway
