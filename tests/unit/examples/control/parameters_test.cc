// What a method declares is what a client may send; the refusal names the parameter.
#include "examples/control/parameters.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <string>

namespace mrpool::control::testing {
namespace {

const std::vector<Parameter> kDeclared = {
    required(text("name", "the store")),
    number("nsid", "the number", 1, 1024),
    flag("force", "at once"),
    texts("hosts", "their names"),
    choice("level", "how much", {"ERROR", "DEBUG"}),
    object("where", "an address", {required(text("traddr", "the address"))}),
    only("tgt_name", "nvmf_tgt", "there is one target"),
};

std::string fault(std::string_view given) {
  const absl::Status status = check(kDeclared, boost::json::parse(given).as_object());
  if (!status.ok()) {
    EXPECT_TRUE(absl::IsInvalidArgument(status));
  }
  return std::string(status.message());
}

TEST(Parameters, DeclaredParametersAreAccepted) {
  EXPECT_EQ(fault(R"({"name": "a", "nsid": 1024, "force": true, "hosts": ["x"], "level": "DEBUG",
                      "where": {"traddr": "::1"}, "tgt_name": "nvmf_tgt"})"),
            "");
  EXPECT_EQ(fault(R"({"name": "a", "nsid": null})"), "");
}

TEST(Parameters, TheRefusalNamesTheParameter) {
  EXPECT_EQ(fault("{}"), "\"name\" is missing: the store");
  EXPECT_EQ(fault(R"({"name": 1})"), "\"name\" must be a string");
  EXPECT_EQ(fault(R"({"name": null})"), "\"name\" must be a string");
  EXPECT_EQ(fault(R"({"name": "a\n"})"), "\"name\" has a control character; leave it out");
  EXPECT_EQ(fault(R"({"name": "a", "nsid": 0})"), "\"nsid\": 0 is not from 1 to 1024");
  EXPECT_EQ(fault(R"({"name": "a", "nsid": -1})"), "\"nsid\" must be a whole number");
  EXPECT_EQ(fault(R"({"name": "a", "nsid": 1.5})"), "\"nsid\" must be a whole number");
  EXPECT_EQ(fault(R"({"name": "a", "force": "yes"})"), "\"force\" must be true or false");
  EXPECT_EQ(fault(R"({"name": "a", "hosts": ["x", 1]})"), "\"hosts\" must be a list of strings");
  EXPECT_EQ(fault(R"({"name": "a", "level": "LOUD"})"),
            "\"level\": \"LOUD\" is not one of ERROR, DEBUG");
  EXPECT_EQ(fault(R"({"name": "a", "where": {}})"), "\"where.traddr\" is missing: the address");
  EXPECT_EQ(fault(R"({"name": "a", "where": {"traddr": "x", "port": 1}})"),
            "\"where.port\" is not a parameter of this method; there are: traddr");
  EXPECT_EQ(fault(R"({"name": "a", "nmae": 1})"),
            "\"nmae\" is not a parameter of this method; there are: name, nsid, force, hosts, "
            "level, where, "
            "tgt_name");
  EXPECT_EQ(fault(R"({"name": "a", "tgt_name": "other"})"),
            "\"tgt_name\": \"other\" is not possible: there is one target; leave it out, or write "
            "\"nvmf_tgt\"");
}

TEST(Parameters, WhatWasGivenIsRead) {
  const Given given(boost::json::parse(R"({"name": "a", "nsid": 7, "force": true, "hosts": ["x"],
                                           "where": {"traddr": "::1"}})")
                        .as_object());
  EXPECT_EQ(given.text("name"), "a");
  EXPECT_EQ(given.text("level", "ERROR"), "ERROR");
  EXPECT_EQ(given.number("nsid"), 7u);
  EXPECT_EQ(given.number("other", 3), 3u);
  EXPECT_TRUE(given.flag("force"));
  EXPECT_FALSE(given.flag("other"));
  EXPECT_EQ(given.texts("hosts"), std::vector<std::string>{"x"});
  EXPECT_TRUE(given.texts("none").empty());
  EXPECT_EQ(given.object("where").text("traddr"), "::1");
  EXPECT_FALSE(given.object("none").has("traddr"));
}

}  // namespace
}  // namespace mrpool::control::testing
