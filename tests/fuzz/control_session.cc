// The control socket's input: whatever comes, in whatever pieces. What a session answers does not
// depend on where its input is cut; every answer is JSON; methods see checked parameters only.
#include <boost/json/parse.hpp>
#include <memory>
#include <string>

#include "examples/control/session.h"
#include "tests/fuzz/fuzz.h"

namespace {

using mrpool::control::Given;
using mrpool::control::Methods;
using mrpool::control::Reply;
using mrpool::control::Result;
using mrpool::control::Session;

// All answers, when the input comes in pieces of so many bytes.
std::string answers_to(std::string_view input, size_t piece, bool later) {
  Methods methods;
  Reply waiting;
  mrpool::control::add_common_methods(methods, "fuzz");
  methods.add({.name = "m",
               .summary = "answers what it was given, perhaps later",
               .parameters = {required(mrpool::control::text("t", "a text")),
                              mrpool::control::number("n", "a number", 3, 5)},
               .changes = true,
               .start = [&](const Given& given, Reply reply) {
                 FUZZ_CHECK(given.all().at("t").is_string());
                 FUZZ_CHECK(given.number("n", 4) >= 3 && given.number("n", 4) <= 5);
                 if (!later) return reply(boost::json::value(given.all()));
                 FUZZ_CHECK(waiting == nullptr);
                 waiting = [reply = std::move(reply), all = given.all()](Result) { reply(all); };
               }});
  std::string all;
  const auto session = Session::create(methods, {.send =
                                                     [&](const std::string& text) {
                                                       boost::json::parse(text);
                                                       all += text;
                                                     },
                                                 .changed = [](const auto&, const auto&) {},
                                                 .idle = [] {}});
  for (; !input.empty() && !session->broken(); input.remove_prefix(std::min(piece, input.size()))) {
    session->feed(input.substr(0, piece));
    while (session->busy()) std::exchange(waiting, nullptr)(boost::json::value());
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = mrpool::fuzz::text_of(data, size);
  const std::string whole = answers_to(input, size + 1, false);
  FUZZ_CHECK(answers_to(input, 1, false) == whole);
  FUZZ_CHECK(answers_to(input, 7, true) == whole);
  return 0;
}
