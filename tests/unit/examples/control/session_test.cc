// JSON-RPC 2.0 without a socket: framing, batches, errors, order.
#include "examples/control/session.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <string>
#include <vector>

#include "examples/control/error.h"

namespace mrpool::control::testing {
namespace {

namespace json = boost::json;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    add_common_methods(methods_, "test");
    methods_.add({.name = "echo",
                  .summary = "what it is given",
                  .parameters = {text("text", "what to say"), number("number", "a number", 1, 9)},
                  .changes = true,
                  .run = [](const Given& given) -> Result { return json::value(given.all()); }});
    methods_.add({.name = "later",
                  .summary = "answers when told to",
                  .start = [this](const Given&, Reply reply) { waiting_ = std::move(reply); }});
    methods_.add({.name = "fail",
                  .summary = "fails",
                  .parameters = {number("code", "of the status")},
                  .run = [](const Given& given) -> Result {
                    return absl::Status(absl::StatusCode(given.number("code")), "as told");
                  }});
    session_ = Session::create(
        methods_, {.send = [this](std::string text) { answers_.push_back(json::parse(text)); },
                   .changed =
                       [this](const std::string& method, const absl::Status& status) {
                         changed_.push_back(method + (status.ok() ? " done" : " refused"));
                       },
                   .idle = [this] { ++idle_; }});
  }

  // The answers to `bytes`, as one text each.
  std::vector<std::string> answers(std::string_view bytes) {
    answers_.clear();
    session_->feed(bytes);
    return texts();
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const json::value& each : answers_) all.push_back(json::serialize(each));
    return all;
  }
  // The code of the only answer.
  int64_t code(std::string_view bytes) {
    answers(bytes);
    if (answers_.size() != 1) return 0;
    const json::value* error = answers_[0].as_object().if_contains("error");
    return error == nullptr ? 1 : error->at("code").as_int64();
  }

  Methods methods_;
  Reply waiting_;
  std::vector<json::value> answers_;
  std::vector<std::string> changed_;
  int idle_ = 0;
  std::shared_ptr<Session> session_;
};

constexpr std::string_view kEcho =
    R"({"jsonrpc": "2.0", "method": "echo", "id": 1, "params": {"text": "}{\"]["}})";
constexpr std::string_view kEchoed = R"({"jsonrpc":"2.0","id":1,"result":{"text":"}{\"]["}})";

TEST_F(SessionTest, AnswersARequestWhateverWayItComesInPieces) {
  for (size_t cut = 0; cut <= kEcho.size(); ++cut) {
    answers_.clear();
    session_->feed(kEcho.substr(0, cut));
    session_->feed(kEcho.substr(cut));
    ASSERT_EQ(texts(), std::vector<std::string>{std::string(kEchoed)}) << cut;
  }
}

TEST_F(SessionTest, AcceptsValuesWithAndWithoutSpacesBetween) {
  std::string three(kEcho);
  three += kEcho;
  three += "\r\n\t ";
  three += kEcho;
  EXPECT_EQ(answers(three).size(), 3u);
}

TEST_F(SessionTest, EveryKindOfId) {
  for (const char* id : {"\"a\"", "7", "null", "18446744073709551615"}) {
    const auto all = answers(std::string(R"({"jsonrpc":"2.0","method":"echo","id":)") + id + "}");
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0], std::string(R"({"jsonrpc":"2.0","id":)") + id + R"(,"result":{}})");
  }
}

TEST_F(SessionTest, ANotificationRunsAndHasNoAnswer) {
  EXPECT_TRUE(answers(R"({"jsonrpc":"2.0","method":"echo"})").empty());
  EXPECT_EQ(changed_, std::vector<std::string>{"echo done"});
  EXPECT_TRUE(answers(R"({"jsonrpc":"2.0","method":"nothing"})").empty());
}

TEST_F(SessionTest, ABatchHasOneListOfAnswers) {
  const auto all = answers(
      R"([{"jsonrpc":"2.0","method":"echo","id":1},{"jsonrpc":"2.0","method":"echo"},7,
          {"jsonrpc":"2.0","method":"none","id":2}])");
  ASSERT_EQ(all.size(), 1u);
  const json::array list = json::parse(all[0]).as_array();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].at("id"), 1);
  EXPECT_EQ(list[1].at("error").at("code"), kInvalidRequest);
  EXPECT_EQ(list[1].at("id"), nullptr);
  EXPECT_EQ(list[2].at("error").at("code"), kMethodNotFound);
  EXPECT_TRUE(answers(R"([{"jsonrpc":"2.0","method":"echo"}])").empty()) << "only notifications";
  EXPECT_EQ(code("[]"), kInvalidRequest);
}

TEST_F(SessionTest, RequestsWaitForTheOneBeforeThem) {
  const std::string later = R"({"jsonrpc":"2.0","method":"later","id":0})";
  EXPECT_TRUE(answers(later + std::string(kEcho)).empty());
  EXPECT_TRUE(session_->busy());
  waiting_(json::value("now"));
  EXPECT_FALSE(session_->busy());
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_EQ(answers_[0].at("result"), "now");
  EXPECT_EQ(json::serialize(answers_[1]), kEchoed);
  // In a batch too.
  answers("[" + later + "," + std::string(kEcho) + "]");
  waiting_(absl::NotFoundError("gone"));
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].at(0).at("error").at("code"), -19);
  EXPECT_EQ(answers_[0].at(1).at("id"), 1);
}

TEST_F(SessionTest, AnAnswerMayComeWhenTheClientHasGone) {
  answers(R"({"jsonrpc":"2.0","method":"later","id":0})");
  session_->leave();
  session_.reset();
  waiting_(json::value("now"));
  EXPECT_TRUE(answers_.empty());
}

TEST_F(SessionTest, AnInvalidRequestIsRefusedAndTheSessionContinues) {
  for (const char* bad :
       {R"({})", R"({"jsonrpc":"1.0","method":"echo","id":1})", R"({"jsonrpc":"2.0","id":1})",
        R"({"jsonrpc":"2.0","method":7,"id":1})", R"({"jsonrpc":"2.0","method":"echo","id":[]})"}) {
    EXPECT_EQ(code(bad), kInvalidRequest) << bad;
  }
  EXPECT_EQ(code(R"({"jsonrpc":"2.0","method":"echo","id":1,"params":[1]})"), kInvalidParameters);
  EXPECT_EQ(code(R"({"jsonrpc":"2.0","method":"none","id":1})"), kMethodNotFound);
  EXPECT_EQ(answers(kEcho).size(), 1u);
}

TEST_F(SessionTest, EveryStatusHasItsCode) {
  const std::pair<absl::StatusCode, int> kCodes[] = {
      {absl::StatusCode::kInvalidArgument, -32602}, {absl::StatusCode::kNotFound, -19},
      {absl::StatusCode::kAlreadyExists, -17},      {absl::StatusCode::kFailedPrecondition, -16},
      {absl::StatusCode::kResourceExhausted, -12},  {absl::StatusCode::kUnavailable, -11},
      {absl::StatusCode::kInternal, -32603},        {absl::StatusCode::kDataLoss, -32603}};
  for (const auto& [status, wanted] : kCodes) {
    EXPECT_EQ(code(R"({"jsonrpc":"2.0","method":"fail","id":1,"params":{"code":)" +
                   std::to_string(int(status)) + "}}"),
              wanted);
    EXPECT_EQ(answers_[0].at("error").at("message"), "as told");
  }
}

TEST_F(SessionTest, InvalidJsonEndsTheSession) {
  EXPECT_EQ(code("{\"jsonrpc\": tru }"), kParseError);
  EXPECT_TRUE(session_->broken());
  EXPECT_GT(idle_, 0);
}

TEST_F(SessionTest, AValueThatIsNotARequestEndsTheSession) {
  EXPECT_EQ(code("17 "), kParseError);
  EXPECT_TRUE(session_->broken());
}

TEST_F(SessionTest, TooDeepEndsTheSession) {
  EXPECT_EQ(code(std::string(kMaxDepth + 1, '[')), kParseError);
  EXPECT_TRUE(session_->broken());
}

TEST_F(SessionTest, TooLargeEndsTheSession) {
  answers("{\"jsonrpc\":\"");
  const std::string some(64 << 10, 'x');
  for (size_t sent = 0; sent <= kMaxRequest && !session_->broken(); sent += some.size()) {
    session_->feed(some);
  }
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].at("error").at("code"), kInvalidRequest);
  EXPECT_TRUE(session_->broken());
}

TEST_F(SessionTest, ATooLongBatchIsRefused) {
  std::string many = "[1";
  for (size_t i = 0; i < kMaxBatch; ++i) many += ",1";
  EXPECT_EQ(code(many + "]"), kInvalidRequest);
  EXPECT_FALSE(session_->broken());
}

TEST_F(SessionTest, ManyRequestsAtOnceNeedNoStack) {
  std::string many;
  for (int i = 0; i < 20000; ++i) many += R"({"jsonrpc":"2.0","method":"echo","id":1})";
  EXPECT_EQ(answers(many).size(), 20000u);
}

TEST_F(SessionTest, TheCommonMethods) {
  answers(R"({"jsonrpc":"2.0","method":"rpc_get_methods","id":1,"params":{"current":true}})");
  const json::array names = answers_[0].at("result").as_array();
  EXPECT_EQ(names, (json::array{"echo", "fail", "later", "log_get_level", "log_set_level",
                                "mrpool_get_schema", "rpc_get_methods", "spdk_get_version"}));
  answers(R"({"jsonrpc":"2.0","method":"spdk_get_version","id":1})");
  EXPECT_TRUE(answers_[0].at("result").at("fields").at("major").is_int64() ||
              answers_[0].at("result").at("fields").at("major").is_uint64());
  answers(R"({"jsonrpc":"2.0","method":"mrpool_get_schema","id":1})");
  const json::value first = answers_[0].at("result").at(0);
  EXPECT_EQ(first.at("name"), "echo");
  EXPECT_EQ(first.at("params").at(1).at("most").to_number<int>(), 9);
}

}  // namespace
}  // namespace mrpool::control::testing
