// The log page of a controller that may send anything.
#include "examples/nvmf/host/ana_log.h"

#include <gtest/gtest.h>

#include <vector>

#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::host {
namespace {

struct Group {
  uint32_t id;
  uint8_t state;
  std::vector<uint32_t> members;
};

std::vector<std::byte> page_of(const std::vector<Group>& groups) {
  std::vector<std::byte> page;
  const auto append = [&page](const auto& value) {
    const auto bytes = bytes_of(value);
    page.insert(page.end(), bytes.begin(), bytes.end());
  };
  nvme_ana_log head{};
  head.ngrps = le(uint16_t(groups.size()));
  append(head);
  for (const Group& each : groups) {
    nvme_ana_group_desc group{};
    group.grpid = le(each.id);
    group.nnsids = le(uint32_t(each.members.size()));
    group.state = each.state;
    append(group);
    for (const uint32_t member : each.members) append(le(member));
  }
  return page;
}

TEST(AnaLog, TheStateOfTheGroupOfANamespace) {
  const auto page = page_of({{1, 1, {1, 2}}, {2, 3, {}}, {3, 0xf, {9}}, {4, 2, {7}}});
  EXPECT_EQ(ana_state_of(page, 2), AnaState::kOptimized);
  EXPECT_EQ(ana_state_of(page, 9), AnaState::kChange);
  EXPECT_EQ(ana_state_of(page, 7), AnaState::kNonOptimized);
  EXPECT_EQ(ana_state_of(page, 3), std::nullopt);
}

TEST(AnaLog, StatesThatDoNotExist) {
  EXPECT_EQ(ana_state_of(page_of({{1, 0, {1}}}), 1), std::nullopt);
  EXPECT_EQ(ana_state_of(page_of({{1, 7, {1}}}), 1), std::nullopt);
}

// Whatever is cut off is not read.
TEST(AnaLog, EveryLength) {
  const auto page = page_of({{1, 1, {1, 2}}, {2, 4, {3}}});
  for (size_t bytes = 0; bytes < page.size(); ++bytes) {
    const std::vector<std::byte> part(page.begin(), page.begin() + ptrdiff_t(bytes));
    EXPECT_EQ(ana_state_of(part, 3), std::nullopt) << bytes;
  }
  EXPECT_EQ(ana_state_of(page, 3), AnaState::kPersistentLoss);
}

TEST(AnaLog, CountsThatAreNotTrue) {
  auto page = page_of({{1, 1, {1}}});
  page[offsetof(nvme_ana_log, ngrps)] = page[offsetof(nvme_ana_log, ngrps) + 1] = std::byte{0xff};
  EXPECT_EQ(ana_state_of(page, 5), std::nullopt);
  for (size_t i = 0; i < 4; ++i) page[sizeof(nvme_ana_log) + 4 + i] = std::byte{0xff};
  EXPECT_EQ(ana_state_of(page, 1), std::nullopt);
}

}  // namespace
}  // namespace mrpool::nvme::host
