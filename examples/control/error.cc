#include "examples/control/error.h"

#include <boost/json/object.hpp>
#include <cerrno>
#include <utility>

namespace mrpool::control {

namespace json = boost::json;

int error_code(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return kInvalidParameters;
    case absl::StatusCode::kUnimplemented:
      return kMethodNotFound;
    case absl::StatusCode::kNotFound:
      return -ENODEV;
    case absl::StatusCode::kAlreadyExists:
      return -EEXIST;
    case absl::StatusCode::kFailedPrecondition:
      return -EBUSY;
    case absl::StatusCode::kResourceExhausted:
      return -ENOMEM;
    case absl::StatusCode::kUnavailable:
      return -EAGAIN;
    default:
      return kInternalError;
  }
}

json::value error_answer(const json::value& id, int code, std::string_view message) {
  return {{"jsonrpc", "2.0"},
          {"id", id},
          {"error", {{"code", code}, {"message", json::string(message)}}}};
}

json::value error_answer(const json::value& id, const absl::Status& status) {
  return error_answer(id, error_code(status.code()), std::string(status.message()));
}

json::value answer(const json::value& id, json::value result) {
  json::object all;
  all["jsonrpc"] = "2.0";
  all["id"] = id;
  all["result"] = std::move(result);
  return all;
}

}  // namespace mrpool::control
