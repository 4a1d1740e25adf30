// The options of a daemon that is one of a group of gateways, on its command line and in its
// configuration file ("gateway_group").
//
// Thread safety: values.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/gateway/ownership.h"

namespace mrpool::base {
class CommandLine;
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::gateway {

inline constexpr std::chrono::nanoseconds kDefaultLease = std::chrono::seconds(2);
inline constexpr std::chrono::nanoseconds kLeastLease = std::chrono::milliseconds(500);
inline constexpr std::chrono::nanoseconds kLongestLease = std::chrono::seconds(60);

struct Options {
  std::string storage{};  // of the records, "rbd:POOL/OBJECT"; empty: there is no group
  std::string name{};     // of this gateway; empty: that of the machine
  std::chrono::nanoseconds lease = kDefaultLease;
  std::chrono::nanoseconds rejoin = Times().rejoin;  // before groups move to a gateway that came
  uint32_t groups = 0;  // ANA groups 1 to this; 0: those that the namespaces are in at the start

  bool any() const { return !storage.empty(); }
  bool operator==(const Options&) const = default;
};

void declare_options(base::CommandLine& program, Options& options);
void read_options(base::JsonObject& object, Options& options);
void write_options(const Options& options, boost::json::object& to);
// Checks them as a whole, and fills the name.
absl::Status complete(Options& options);

// All times follow from the lease.
Times times_of(const Options& options);

// The address of a store of ANA group `group`: as it is given, with the client of that group, and
// with the cluster of the records where it names none. InvalidArgument: it is not in that cluster.
absl::StatusOr<std::string> store_of(const Options& options, uint32_t group,
                                     const std::string& store);

}  // namespace mrpool::gateway
