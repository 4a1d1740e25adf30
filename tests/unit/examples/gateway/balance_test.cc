#include "examples/gateway/balance.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace mrpool::gateway {
namespace {

using Owners = std::map<std::string, std::string>;

TEST(Balance, NobodyIsThere) { EXPECT_TRUE(balance({{"1", "a"}}, {}).empty()); }

TEST(Balance, OneHasAll) {
  EXPECT_EQ(balance({{"1", ""}, {"2", "gone"}}, {"a"}), (Owners{{"1", "a"}, {"2", "a"}}));
}

TEST(Balance, FreeGroupsAreShared) {
  EXPECT_EQ(balance({{"1", ""}, {"2", ""}}, {"a", "b"}), (Owners{{"1", "a"}, {"2", "b"}}));
}

TEST(Balance, ANewMemberTakesAsFewAsMakeItEven) {
  EXPECT_EQ(balance({{"1", "a"}, {"2", "a"}, {"3", "a"}, {"4", "a"}}, {"a", "b"}),
            (Owners{{"1", "a"}, {"2", "a"}, {"3", "b"}, {"4", "b"}}));
}

TEST(Balance, ADeadMembersGroupsGoToWhoHasFewest) {
  EXPECT_EQ(balance({{"1", "a"}, {"2", "a"}, {"3", "c"}}, {"a", "b"}),
            (Owners{{"1", "a"}, {"2", "a"}, {"3", "b"}}));
}

TEST(Balance, EvenStaysAsItIs) {
  const Owners owners = {{"1", "b"}, {"2", "a"}, {"3", "b"}};
  EXPECT_EQ(balance(owners, {"a", "b"}), owners);
  EXPECT_EQ(balance({{"1", "b"}}, {"a", "b", "c"}), (Owners{{"1", "b"}}));
}

// Whatever the start: the result is even, and it is its own result.
TEST(Balance, EndsEven) {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  for (unsigned seed = 0; seed < 4096; ++seed) {
    Owners owners;
    const std::vector<std::string> members(names.begin(), names.begin() + 1 + seed % 4);
    unsigned digits = seed * 2654435761u;
    for (unsigned group = 0; group < seed % 8; ++group, digits /= 5) {
      owners[std::to_string(group)] = digits % 5 == 4 ? "" : names[digits % 5];
    }
    const Owners result = balance(owners, members);
    ASSERT_EQ(result.size(), owners.size());
    std::map<std::string, size_t> shares;
    for (const std::string& member : members) shares[member] = 0;
    for (const auto& [group, member] : result) ++shares[member];
    ASSERT_EQ(shares.size(), members.size());
    for (const auto& [member, share] : shares) {
      EXPECT_GE(share, owners.size() / members.size());
      EXPECT_LE(share, (owners.size() + members.size() - 1) / members.size());
    }
    EXPECT_EQ(balance(result, members), result);
  }
}

}  // namespace
}  // namespace mrpool::gateway
