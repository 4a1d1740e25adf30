// The methods of a daemon's control socket.
//
//   methods.add({.name = "log_get_level", .summary = "the level of the log", .run = ...});
//   methods.add({.name = "bdev_aio_delete", .summary = "...",
//                .parameters = {required(text("name", "the store"))},
//                .changes = true,
//                .start = [](const Given& given, Reply reply) { ... reply(result) once, later ...
//                }});
//
// A method runs on the main loop. A method that may take long replies later (engine/changes.h).
//
// Thread safety: one thread, the main loop's. Ownership: owns the methods.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/control/parameters.h"

namespace mrpool::control {

using Result = absl::StatusOr<boost::json::value>;
// Call it once, on the main loop's thread: immediately or later, even if the client has
// disconnected.
using Reply = std::function<void(Result)>;

struct Method {
  std::string name;
  std::string summary;
  std::vector<Parameter> parameters{};
  bool changes = false;  // it changes something: its callers are logged
  // Set one of the two: `run` answers immediately, `start` may answer later.
  std::function<Result(const Given& given)> run{};
  std::function<void(const Given& given, Reply reply)> start{};
};

class Methods {
 public:
  // The name must be new.
  void add(Method method);
  // Null: it does not exist.
  const Method* find(std::string_view name) const;
  const std::map<std::string, Method, std::less<>>& all() const { return methods_; }

  // Checks the parameters and runs the method. Unimplemented: the method does not exist.
  void call(std::string_view name, const boost::json::object& parameters, Reply reply) const;

 private:
  std::map<std::string, Method, std::less<>> methods_;
};

// rpc_get_methods, mrpool_get_schema, spdk_get_version. `program` is part of the result of
// spdk_get_version.
void add_common_methods(Methods& methods, std::string program);

}  // namespace mrpool::control
