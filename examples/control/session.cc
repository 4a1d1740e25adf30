#include "examples/control/session.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/control/error.h"

namespace mrpool::control {

namespace json = boost::json;

namespace {

json::parse_options limits() {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  return options;
}

bool blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// Why the value is not a request; empty if it is one.
std::string_view fault_of(const json::object& request) {
  const json::value* version = request.if_contains("jsonrpc");
  if (version == nullptr || *version != "2.0") return "\"jsonrpc\" must be \"2.0\"";
  const json::value* method = request.if_contains("method");
  if (method == nullptr || !method->is_string()) return "\"method\" must be a string";
  const json::value* id = request.if_contains("id");
  if (id != nullptr && !id->is_string() && !id->is_number() && !id->is_null()) {
    return "\"id\" must be a string or a number";
  }
  return {};
}

}  // namespace

std::shared_ptr<Session> Session::create(const Methods& methods, Hooks hooks) {
  return std::make_shared<Session>(Private(), methods, std::move(hooks));
}

Session::Session(Private, const Methods& methods, Hooks hooks)
    : methods_(methods), hooks_(std::move(hooks)), parser_({}, limits()) {}

void Session::leave() {
  left_ = true;
  broken_ = true;
}

void Session::feed(std::string_view bytes) {
  input_ += bytes;
  advance();
}

// Takes values from the input until a request runs.
void Session::advance() {
  if (advancing_) return;
  const auto self = shared_from_this();
  advancing_ = true;
  while (!under_way_ && !broken_) {
    if (batch_) {
      take_batch();
    } else if (!parse_some()) {
      break;
    }
  }
  advancing_ = false;
  if (under_way_) return;
  input_.clear();
  taken_ = 0;
  if (!left_) hooks_.idle();
}

// False: the input has no complete value.
bool Session::parse_some() {
  std::string_view rest = std::string_view(input_).substr(taken_);
  while (value_bytes_ == 0 && !rest.empty() && blank(rest.front())) {
    rest.remove_prefix(1);
    ++taken_;
  }
  if (rest.empty()) return false;
  if (value_bytes_ == 0 && rest.front() != '{' && rest.front() != '[') {
    break_off(kParseError, "a request must be a JSON object, or a list of them");
    return false;
  }
  json::error_code error;
  const size_t used = parser_.write_some(rest.data(), rest.size(), error);
  taken_ += used;
  value_bytes_ += used;
  if (value_bytes_ > kMaxRequest) {
    break_off(kInvalidRequest, absl::StrCat("the request has more than ", kMaxRequest, " bytes"));
    return false;
  }
  if (error) {
    break_off(kParseError, absl::StrCat("not JSON: ", error.message()));
    return false;
  }
  if (!parser_.done()) return false;
  json::value value = parser_.release();
  parser_.reset();
  value_bytes_ = 0;
  take(std::move(value));
  return true;
}

void Session::take(json::value value) {
  if (!value.is_array()) {
    const auto self = shared_from_this();
    return run(value, [self](std::optional<json::value> answer) {
      if (answer) self->send(*answer);
    });
  }
  json::array& requests = value.get_array();
  if (requests.empty()) {
    return send(error_answer(nullptr, kInvalidRequest, "the batch is empty"));
  }
  if (requests.size() > kMaxBatch) {
    return send(error_answer(nullptr, kInvalidRequest,
                             absl::StrCat("the batch has more than ", kMaxBatch, " requests")));
  }
  batch_ = Batch{.requests = std::move(requests)};
}

// Runs the next request of the batch, or sends the batch's answer.
void Session::take_batch() {
  if (batch_->next == batch_->requests.size()) {
    const Batch batch = *std::exchange(batch_, std::nullopt);
    if (!batch.answers.empty()) send(batch.answers);
    return;
  }
  const auto self = shared_from_this();
  run(batch_->requests[batch_->next++], [self](std::optional<json::value> answer) {
    if (answer && self->batch_) self->batch_->answers.push_back(*std::move(answer));
  });
}

void Session::run(const json::value& value, Done done) {
  const json::object* request = value.if_object();
  const std::string_view fault =
      request == nullptr ? "a request must be an object" : fault_of(*request);
  if (!fault.empty()) return done(error_answer(nullptr, kInvalidRequest, fault));
  const json::value* id = request->if_contains("id");
  std::optional<json::value> name;
  if (id != nullptr) name = *id;
  const std::string method(request->at("method").get_string());
  const json::value* parameters = request->if_contains("params");
  if (parameters != nullptr && !parameters->is_object() && !parameters->is_null()) {
    return done(name ? std::optional(error_answer(*name, kInvalidParameters,
                                                  "\"params\" must be an object: parameters have "
                                                  "names here"))
                     : std::nullopt);
  }
  const json::object none;
  const bool given = parameters != nullptr && parameters->is_object();
  under_way_ = true;
  methods_.call(method, given ? parameters->get_object() : none,
                [self = shared_from_this(), name, method, done = std::move(done)](Result result) {
                  const Method* known = self->methods_.find(method);
                  if (known != nullptr && known->changes) {
                    self->hooks_.changed(method, result.status());
                  }
                  self->under_way_ = false;
                  if (!name) {
                    done(std::nullopt);
                  } else if (result.ok()) {
                    done(answer(*name, *std::move(result)));
                  } else {
                    done(error_answer(*name, result.status()));
                  }
                  self->advance();
                });
}

void Session::send(const json::value& value) {
  if (!left_) hooks_.send(json::serialize(value) + "\n");
}

void Session::break_off(int code, std::string_view why) {
  send(error_answer(nullptr, code, why));
  broken_ = true;
}

}  // namespace mrpool::control
