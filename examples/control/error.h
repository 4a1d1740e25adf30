// Errors of JSON-RPC 2.0: the codes of its specification, and negated errno values for the cases
// that clients distinguish, as SPDK's clients expect.
//
// Methods return absl::Status; error_code() translates it:
//   InvalidArgument      -32602  a parameter is wrong
//   NotFound             -19     it does not exist (ENODEV)
//   AlreadyExists        -17     it exists already (EEXIST)
//   FailedPrecondition   -16     it is in use, or conflicts with existing state (EBUSY)
//   ResourceExhausted    -12     out of memory, descriptors or space (ENOMEM)
//   Unavailable          -11     try again later (EAGAIN)
//   all others           -32603  internal error
//
// Thread safety: pure.
#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "absl/status/status.h"

namespace mrpool::control {

inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParameters = -32602;
inline constexpr int kInternalError = -32603;

int error_code(absl::StatusCode code);

// {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}
boost::json::value error_answer(const boost::json::value& id, int code, std::string_view message);
boost::json::value error_answer(const boost::json::value& id, const absl::Status& status);
boost::json::value answer(const boost::json::value& id, boost::json::value result);

}  // namespace mrpool::control
