// The JSON-RPC 2.0 session of one client, without a socket: its input is bytes, its output answers.
//
// The input is a stream of JSON values, with or without white space between them, split at any
// byte. Each is a request, or a list of requests (a batch), whose answers form one list. A request
// without "id" is a notification and has no answer. Requests run one at a time, so answers keep
// their order; later requests wait.
//
// Input that is not JSON, or exceeds the limits of size or nesting, ends the session after an error
// answer, because the start of the next request is unknown.
//
// Thread safety: one thread. Ownership: shared, because a method may answer after the client has
// disconnected.
#pragma once

#include <boost/json/stream_parser.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "examples/control/methods.h"

namespace mrpool::control {

inline constexpr size_t kMaxRequest = 4 << 20;  // bytes of one request, or batch
inline constexpr size_t kMaxDepth = 32;
inline constexpr size_t kMaxBatch = 1024;  // requests of a batch

class Session : public std::enable_shared_from_this<Session> {
 public:
  struct Hooks {
    std::function<void(std::string)> send;  // an answer, with a newline
    // A method that changes something has ended or was refused.
    std::function<void(const std::string& method, const absl::Status& status)> changed;
    std::function<void()> idle;  // all requests are answered, or broken()
  };
  static std::shared_ptr<Session> create(const Methods& methods, Hooks hooks);

  // Processes bytes; requires that neither busy() nor broken() is true. May call the hooks.
  void feed(std::string_view bytes);
  // True while a request runs or waits.
  bool busy() const { return under_way_; }
  // True if no further request is accepted; the last answer has the reason.
  bool broken() const { return broken_; }
  // The client has disconnected: no hook is called any more.
  void leave();

 private:
  struct Private {};

 public:
  Session(Private, const Methods& methods, Hooks hooks);

 private:
  struct Batch {
    boost::json::array requests;
    size_t next = 0;
    boost::json::array answers{};
  };

  void advance();
  bool parse_some();
  void take(boost::json::value value);
  void take_batch();
  // Runs a request; `done` receives its answer, or none for a notification.
  using Done = std::function<void(std::optional<boost::json::value>)>;
  void run(const boost::json::value& request, Done done);
  void send(const boost::json::value& value);
  void break_off(int code, std::string_view why);

  const Methods& methods_;
  Hooks hooks_;
  boost::json::stream_parser parser_;
  size_t value_bytes_ = 0;  // of the value being parsed
  std::string input_;
  size_t taken_ = 0;  // of input_
  std::optional<Batch> batch_;
  bool under_way_ = false;
  bool advancing_ = false;
  bool broken_ = false;
  bool left_ = false;
};

}  // namespace mrpool::control
