// Namespaces that only some hosts see: no command, list, log page or event of another host has
// them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::AdminOpcode;
using nvme::Status;

class VisibilityTest : public TargetFixture {
 protected:
  // Of namespaces_, by nsid; and served at once.
  void show(uint32_t nsid, HostSet hosts) {
    for (Namespace& each : namespaces_) {
      if (each.nsid == nsid) each.hosts = std::make_shared<const HostSet>(std::move(hosts));
    }
    apply();
  }
  AdminReply identify(Controller& c, uint32_t cns, uint32_t nsid = 0) {
    return c.admin(admin_command(AdminOpcode::kIdentify, nsid, cns), 4096, now_);
  }
  static std::vector<uint32_t> listed(const AdminReply& reply) {
    const auto list = page<nvme_ns_list>(reply);
    std::vector<uint32_t> nsids;
    for (const uint32_t nsid : list.ns) {
      if (nsid != 0) nsids.push_back(nvme::le(nsid));
    }
    return nsids;
  }
  std::vector<uint32_t> active(Controller& c) {
    return listed(identify(c, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST));
  }
  uint64_t blocks(Controller& c, uint32_t nsid) {
    return page<nvme_id_ns>(identify(c, NVME_IDENTIFY_CNS_NS, nsid)).nsze;
  }
  // An event request is parked and namespace events are on.
  std::shared_ptr<Controller> listening(const char* host) {
    auto c = enabled(kNqn, host);
    c->admin(
        admin_command(AdminOpcode::kSetFeatures, 0, NVME_FEAT_FID_ASYNC_EVENT, kEventNamespace), 0,
        now_);
    c->admin(admin_command(AdminOpcode::kAsyncEventRequest), 0, now_);
    return c;
  }
  std::vector<uint32_t> changed(Controller& c) {
    return listed(c.admin(log_command(NVME_LOG_LID_CHANGED_NS, 4096), 4096, now_));
  }
};

TEST_F(VisibilityTest, AHiddenNamespaceIsAsIfItWereNotThere) {
  show(3, {kHost});
  auto mine = enabled(kNqn, kHost), other = enabled(kNqn, kOtherHost);
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(active(*other), (std::vector<uint32_t>{1}));
  EXPECT_EQ(listed(identify(*other, NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST)),
            (std::vector<uint32_t>{1}));
  EXPECT_GT(blocks(*mine, 3), 0u);
  for (const uint32_t absent : {2u, 3u}) {  // 2 is not there at all: no difference can be seen
    const AdminReply inactive = identify(*other, NVME_IDENTIFY_CNS_NS, absent);
    EXPECT_STATUS(inactive.status, Status::kSuccess);
    EXPECT_EQ(inactive.data, std::vector<std::byte>(4096));
    EXPECT_STATUS(identify(*other, NVME_IDENTIFY_CNS_NS_DESC_LIST, absent).status,
                  dnr(Status::kInvalidNamespace));
    nvme::Sqe feature =
        admin_command(AdminOpcode::kSetFeatures, absent, NVME_FEAT_FID_ERR_RECOVERY);
    EXPECT_STATUS(other->admin(feature, 0, now_).status, dnr(Status::kInvalidNamespace));
  }
  EXPECT_STATUS(identify(*mine, NVME_IDENTIFY_CNS_NS_DESC_LIST, 3).status, Status::kSuccess);
}

// Data about the whole controller covers only what its host sees.
TEST_F(VisibilityTest, TheVolatileCacheIsThatOfWhatIsSeen) {
  const std::string path = ::testing::TempDir() + "nvmf_seen";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  namespaces_.push_back(make_namespace(5, "file:" + path));
  show(5, {kHost});
  const auto cache = [&](const char* host) {
    auto c = enabled(kNqn, host);
    return page<nvme_id_ctrl>(identify(*c, NVME_IDENTIFY_CNS_CTRL)).vwc & 1;
  };
  EXPECT_EQ(cache(kHost), 1);
  EXPECT_EQ(cache(kOtherHost), 0);
  std::filesystem::remove(path);
}

TEST_F(VisibilityTest, OnlyAffectedHostsGetTheEvent) {
  show(3, {});
  auto mine = listening(kHost), other = listening(kOtherHost);
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1}));
  show(3, {kHost});
  EXPECT_EQ(mine->take_events().size(), 1u);
  EXPECT_TRUE(other->take_events().empty());
  EXPECT_EQ(changed(*other), (std::vector<uint32_t>{}));
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{3}));
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1, 3}));
  // An additional host causes no event for the first.
  show(3, {kHost, kOtherHost});
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{}));
  EXPECT_EQ(changed(*other), (std::vector<uint32_t>{3}));
  show(3, {kOtherHost});
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{3}));
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1}));
  EXPECT_EQ(active(*other), (std::vector<uint32_t>{1, 3}));
  // Nor is what happens to a namespace that is hidden: another store, and its end.
  namespaces_.back() = make_namespace(3, "ram:2MiB,bs=512");
  show(3, {kOtherHost});
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{}));
  EXPECT_EQ(changed(*other), (std::vector<uint32_t>{3}));
  namespaces_.pop_back();
  apply();
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{}));
  EXPECT_EQ(changed(*other), (std::vector<uint32_t>{3}));
}

// A host never means a store that took the place of the one it saw while it saw none.
TEST_F(VisibilityTest, AStoreThatReplacesAHiddenOneIsNotAnnounced) {
  show(3, {kHost});
  auto mine = enabled(kNqn, kHost);
  const auto means = [&] { return mine->means(*target_.find(kNqn)->namespaces()->find(3)); };
  EXPECT_TRUE(means());
  show(3, {});
  show(3, {kHost});
  EXPECT_TRUE(means()) << "the same store again";
  show(3, {});
  namespaces_.back() = make_namespace(3, "ram:2MiB,bs=512");
  namespaces_.back().uuid[1] = 1;
  show(3, {kHost});
  EXPECT_FALSE(means());
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1})) << "first it sees the old one go";
  EXPECT_EQ(active(*mine), (std::vector<uint32_t>{1, 3}));
  EXPECT_GT(blocks(*mine, 3), 0u);
  EXPECT_TRUE(means());
}

TEST_F(VisibilityTest, SizesOfHiddenNamespacesAreNotAnnounced) {
  const std::string path = ::testing::TempDir() + "nvmf_hidden_size";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  namespaces_.push_back(make_namespace(5, "file:" + path));
  show(5, {kHost});
  auto mine = enabled(kNqn, kHost), other = enabled(kNqn, kOtherHost);
  std::filesystem::resize_file(path, 2 << 20);
  EXPECT_EQ(*namespaces_.back().volume->refresh(0), storage::SizeChange::kGrown);
  target_.refresh_sizes();
  EXPECT_EQ(changed(*mine), (std::vector<uint32_t>{5}));
  EXPECT_EQ(changed(*other), (std::vector<uint32_t>{}));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
