// Connecting, discovery and reconfiguration of the target, without any I/O.
#include "examples/nvmf/target/target.h"

#include <filesystem>
#include <fstream>

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::RdmaStatus;
using nvme::Status;

nvme::RdmaRequest request(uint16_t queue_id, uint16_t receive, uint16_t send0) {
  nvme::RdmaRequest r;
  r.queue_id = queue_id;
  r.host_receive_size = receive;
  r.host_send_size0 = send0;
  return r;
}

TEST(RdmaRequest, EveryReasonToReject) {
  const auto check = [](const nvme::RdmaRequest& wire, size_t bytes = 32) {
    QueueRequest wanted;
    RdmaStatus why{};
    return parse_request(nvme::bytes_of(wire).first(bytes), wanted, why) ? RdmaStatus{} : why;
  };
  EXPECT_EQ(check(request(0, 32, 31)), RdmaStatus{});
  EXPECT_EQ(check(request(1, 1024, 1023)), RdmaStatus{});
  EXPECT_EQ(check(request(0, 32, 31), 31), RdmaStatus::kInvalidLength);
  EXPECT_EQ(check(request(0, 32, 31), 0), RdmaStatus::kInvalidLength);
  nvme::RdmaRequest format = request(0, 32, 31);
  format.record_format = uint16_t{1};
  EXPECT_EQ(check(format), RdmaStatus::kInvalidRecordFormat);
  EXPECT_EQ(check(request(kMaxIoQueues + 1, 32, 31)), RdmaStatus::kInvalidQueueId);
  EXPECT_EQ(check(request(0xffff, 32, 31)), RdmaStatus::kInvalidQueueId);
  EXPECT_EQ(check(request(1, 32, 0)), RdmaStatus::kInvalidHostSendSize);
  EXPECT_EQ(check(request(1, 2048, 1024)), RdmaStatus::kInvalidHostSendSize);
  EXPECT_EQ(check(request(1, 31, 31)), RdmaStatus::kInvalidHostReceiveSize);
  EXPECT_EQ(check(request(1, 0, 31)), RdmaStatus::kInvalidHostReceiveSize);
}

class ConnectTest : public TargetFixture {
 protected:
  Connected try_connect(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                        const QueueFacts& queue) {
    return target_.connect(command, data, queue, now_);
  }
  // Expects Connect Invalid Parameters that point at one byte.
  void expect_bad(const Connected& c, bool in_data, uint16_t offset) {
    EXPECT_STATUS(c.status, dnr(Status::kConnectInvalidParameters));
    EXPECT_EQ(c.result, nvme::connect_invalid_parameter(in_data, offset));
    EXPECT_EQ(c.controller, nullptr);
  }
};

TEST_F(ConnectTest, AdminQueue) {
  const Connected c = try_connect(connect_command(0), connect_data(kNqn, kHost), facts(0));
  EXPECT_STATUS(c.status, Status::kSuccess);
  ASSERT_NE(c.controller, nullptr);
  EXPECT_EQ(c.result, c.controller->identity().id);
  EXPECT_EQ(target_.controllers(), 1u);
  target_.disconnected(*c.controller, 0);
  EXPECT_EQ(target_.controllers(), 0u);
}

TEST_F(ConnectTest, EveryBadField) {
  nvme::ConnectCommand format = connect_command(0);
  format.record_format = uint16_t{1};
  EXPECT_STATUS(try_connect(format, connect_data(kNqn, kHost), facts(0)).status,
                dnr(Status::kConnectIncompatibleFormat));
  // The queue id of the RDMA connection counts.
  expect_bad(try_connect(connect_command(1), connect_data(kNqn, kHost), facts(0)), false, 42);
  nvme::ConnectCommand size = connect_command(0);
  size.sq_size0 = uint16_t{0};
  expect_bad(try_connect(size, connect_data(kNqn, kHost), facts(0)), false, 44);
  expect_bad(try_connect(connect_command(0, 33), connect_data(kNqn, kHost), facts(0, 32)), false,
             44);
  expect_bad(try_connect(connect_command(0), connect_data(kNqn, kHost, 1), facts(0)), true, 16);
  expect_bad(try_connect(connect_command(0), connect_data("nqn.2024-01.org.example:none", kHost),
                         facts(0)),
             true, 256);
  expect_bad(try_connect(connect_command(0), connect_data("junk", kHost), facts(0)), true, 256);
  expect_bad(try_connect(connect_command(0), connect_data(kNqn, ""), facts(0)), true, 512);
  nvme::ConnectData unterminated = connect_data(kNqn, kHost);
  std::fill(std::begin(unterminated.subsysnqn), std::end(unterminated.subsysnqn), 'n');
  expect_bad(try_connect(connect_command(0), unterminated, facts(0)), true, 256);
  EXPECT_STATUS(
      try_connect(connect_command(0), connect_data(kPrivateNqn, kOtherHost), facts(0)).status,
      dnr(Status::kConnectInvalidHost));
  EXPECT_EQ(target_.controllers(), 0u);
}

TEST_F(ConnectTest, IoQueues) {
  auto controller = connect();
  const uint16_t id = controller->identity().id;
  EXPECT_STATUS(try_connect(connect_command(1), connect_data(kNqn, kHost, id), facts(1)).status,
                dnr(Status::kCommandSequence));  // not enabled
  enable(*controller);
  const Connected good = try_connect(connect_command(1), connect_data(kNqn, kHost, id), facts(1));
  EXPECT_STATUS(good.status, Status::kSuccess);
  EXPECT_EQ(good.controller, controller);
  // The same queue twice.
  EXPECT_STATUS(try_connect(connect_command(1), connect_data(kNqn, kHost, id), facts(1)).status,
                dnr(Status::kCommandSequence));
  // Somebody else's controller.
  expect_bad(try_connect(connect_command(2), connect_data(kNqn, kOtherHost, id), facts(2)), true,
             512);
  expect_bad(try_connect(connect_command(2), connect_data(kNqn, kHost, id, 8), facts(2)), true, 0);
  expect_bad(try_connect(connect_command(2), connect_data(kPrivateNqn, kHost, id), facts(2)), true,
             256);
  expect_bad(try_connect(connect_command(2), connect_data(kNqn, kHost, uint16_t(id + 1)), facts(2)),
             true, 16);
  expect_bad(try_connect(connect_command(kMaxIoQueues + 1), connect_data(kNqn, kHost, id),
                         facts(kMaxIoQueues + 1)),
             false, 42);
  // The admin queue goes: the I/O queue has to go with it.
  target_.disconnected(*controller, 0);
  EXPECT_EQ(host_.dropped.size(), 1u);
}

TEST_F(ConnectTest, DiscoveryHasNoIoQueues) {
  auto controller = enabled(nvme::kDiscoveryNqn);
  expect_bad(
      try_connect(connect_command(1),
                  connect_data(nvme::kDiscoveryNqn, kHost, controller->identity().id), facts(1)),
      false, 42);
}

TEST_F(ConnectTest, ControllerIdsAreNotReusedAtOnce) {
  auto a = connect();
  const uint16_t id = a->identity().id;
  target_.disconnected(*a, 0);
  target_.drained(*a, 0);
  EXPECT_NE(connect()->identity().id, id);
}

// What a host's lost connections left with the storage must not land after its new ones are open.
TEST_F(ConnectTest, WaitsForWhatAnEarlierConnectionLeft) {
  auto old = enabled();
  const uint16_t id = old->identity().id;
  ASSERT_STATUS(try_connect(connect_command(1), connect_data(kNqn, kHost, id), facts(1)).status);
  const auto again = [&](std::string_view nqn, std::string_view host, uint8_t host_id) {
    return try_connect(connect_command(0),
                       connect_data(nqn, host, nvme::kDynamicController, host_id), facts(0));
  };
  EXPECT_FALSE(again(kNqn, kHost, 7).wait) << "another path beside a live one";
  // The I/O queue is the first whose end is noticed.
  target_.disconnected(*old, 1);
  const QueueFacts held = facts(0);
  EXPECT_TRUE(try_connect(connect_command(0), connect_data(kNqn, kHost), held).wait);
  EXPECT_TRUE(try_connect(connect_command(1), connect_data(kNqn, kHost, id), facts(1)).wait);
  EXPECT_FALSE(again(kNqn, kOtherHost, 7).wait) << "another host";
  EXPECT_FALSE(again(kNqn, kHost, 8).wait) << "another host of that name";
  EXPECT_FALSE(again(kPrivateNqn, kHost, 7).wait) << "another subsystem";
  target_.disconnected(*old, 0);
  EXPECT_TRUE(again(kNqn, kHost, 7).wait);
  // Each end wakes all who wait, and the last one lets them in.
  target_.drained(*old, 0);
  ASSERT_EQ(host_.again.size(), 3u);
  EXPECT_EQ(host_.again[0], held.ref);
  EXPECT_TRUE(again(kNqn, kHost, 7).wait);
  target_.forget_waiter({0, next_queue_ - 1});
  target_.drained(*old, 1);
  EXPECT_EQ(host_.again.size(), 3u) << "who waits no longer is not woken";
  EXPECT_FALSE(again(kNqn, kHost, 7).wait);
}

TEST_F(ConnectTest, TooManyControllers) {
  RecordingHost host;
  Target small({.workers = 1, .max_controllers = 1}, host);
  Target::Served served;
  served.options.nqn = kNqn;
  small.apply({served}, {});
  EXPECT_STATUS(small.connect(connect_command(0), connect_data(kNqn, kHost), facts(0), now_).status,
                Status::kSuccess);
  EXPECT_STATUS(small.connect(connect_command(0), connect_data(kNqn, kHost), facts(0), now_).status,
                Status::kConnectControllerBusy);
}

// A discovery controller that makes room has its id until its queue has ended.
TEST_F(ConnectTest, IdOfControllerThatMakesRoomIsNotReused) {
  RecordingHost host;
  Target small({.workers = 1, .max_controllers = 1}, host);
  Target::Served served;
  served.options.nqn = kNqn;
  small.apply({served}, {});
  const Connected discovery =
      small.connect(connect_command(0), connect_data(nvme::kDiscoveryNqn, kHost), facts(0), now_);
  const Connected io = small.connect(connect_command(0), connect_data(kNqn, kHost), facts(0), now_);
  ASSERT_STATUS(discovery.status);
  ASSERT_STATUS(io.status);
  EXPECT_NE(io.result, discovery.result);
}

TEST_F(ConnectTest, DiscoveryAnnouncesReferrals) {
  const auto controller = enabled(nvme::kDiscoveryNqn);
  (void)controller->admin(admin_command(nvme::AdminOpcode::kSetFeatures, 0, 0x0b, kEventDiscovery),
                          0, now_);
  (void)controller->admin(admin_command(nvme::AdminOpcode::kAsyncEventRequest), 0, now_);
  auto tcp = make_referral("TCP", "", "fd00::9", "8009", "");
  ASSERT_TRUE(tcp.ok()) << tcp.status();
  tcp->secure_channel = true;
  const auto rdma = make_referral("rdma", "ipv4", "10.0.0.9", "4420", kNqn);
  ASSERT_TRUE(rdma.ok()) << rdma.status();
  target_.apply({}, {{.address = "10.0.0.1", .port = 4420, .id = 1}}, {*tcp, *rdma});
  EXPECT_EQ(controller->take_events().size(), 1u);
  const auto log = target_.discovery_log(kOtherHost, "10.0.0.1:4420");
  ASSERT_EQ(log.size(), sizeof(nvmf_discovery_log) + 2 * sizeof(nvmf_disc_log_entry));
  const auto entry = [&](size_t i) {
    return nvme::read_struct<nvmf_disc_log_entry>(
        std::span(log).subspan(sizeof(nvmf_discovery_log) + i * sizeof(nvmf_disc_log_entry)));
  };
  const nvmf_disc_log_entry first = entry(0);
  EXPECT_EQ(first.subtype, NVME_NQN_DISC);
  EXPECT_EQ(first.trtype, NVMF_TRTYPE_TCP);
  EXPECT_EQ(first.adrfam, NVMF_ADDR_FAMILY_IP6);
  EXPECT_EQ(first.treq, NVMF_TREQ_REQUIRED);
  EXPECT_EQ(first.tsas.tcp.sectype, NVMF_TCP_SECTYPE_TLS13);
  EXPECT_EQ(nvme::le(uint16_t(first.cntlid)), nvme::kDynamicController);
  EXPECT_EQ(std::string_view(first.traddr), "fd00::9");
  EXPECT_EQ(std::string_view(first.trsvcid), "8009");
  EXPECT_EQ(nvme::field_string(first.subnqn), nvme::kDiscoveryNqn);
  EXPECT_EQ(entry(1).subtype, NVME_NQN_NVME);
  EXPECT_EQ(nvme::field_string(entry(1).subnqn), kNqn);
}

TEST_F(ConnectTest, DiscoveryLogFollowsTheHost) {
  const auto records = [&](std::string_view host) {
    return nvme::read_struct<nvmf_discovery_log>(target_.discovery_log(host, "10.9.8.7:4420"))
        .numrec;
  };
  EXPECT_EQ(records(kHost), 2u);
  EXPECT_EQ(records(kOtherHost), 1u);
  const auto log = target_.discovery_log(kOtherHost, "10.9.8.7:4420");
  const auto entry = nvme::read_struct<nvmf_disc_log_entry>(std::span(log).subspan(1024));
  EXPECT_STREQ(entry.subnqn, kNqn);
  EXPECT_STREQ(entry.traddr, "10.9.8.7") << "a wildcard is replaced by where the host came in";
  EXPECT_STREQ(entry.trsvcid, "4420");
  EXPECT_EQ(entry.trtype, NVMF_TRTYPE_RDMA);
  EXPECT_EQ(entry.tsas.rdma.prtype, NVMF_RDMA_PRTYPE_IWARP);
  EXPECT_EQ(entry.cntlid, 0xffff);
}

TEST_F(ConnectTest, ReconfigurationReachesHosts) {
  auto mine = enabled();
  auto private_one = enabled(kPrivateNqn);
  const auto before = target_.find(kNqn);
  namespaces_.push_back(make_namespace(7, "ram:1MiB"));
  apply();
  EXPECT_EQ(target_.find(kNqn), before) << "what did not change stays";
  const AdminReply changed = mine->admin(log_command(NVME_LOG_LID_CHANGED_NS, 4096), 4096, now_);
  EXPECT_EQ(page<nvme_ns_list>(changed).ns[0], 7u);
  EXPECT_EQ(page<nvme_ns_list>(changed).ns[1], 0u);
  // The private subsystem vanishes and takes its controllers with it.
  Target::Served served;
  served.options.nqn = kNqn;
  served.options.serial = "s1";
  served.namespaces = namespaces_;
  target_.apply({served}, {});
  ASSERT_EQ(host_.dropped.size(), 1u);
  EXPECT_EQ(target_.find(kPrivateNqn), nullptr);
  target_.disconnected(*private_one, 0);
  // So does a host that is no longer welcome.
  served.options.allow_any_host = false;
  served.options.hosts = {kOtherHost};
  target_.apply({served}, {});
  EXPECT_EQ(host_.dropped.size(), 2u);
}

TEST_F(ConnectTest, HostsHearOfAnotherSize) {
  const std::string path = ::testing::TempDir() + "nvmf_grows";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  namespaces_.push_back(make_namespace(5, "file:" + path));
  apply();
  auto mine = enabled();
  const auto told = [&] {
    const AdminReply log = mine->admin(log_command(NVME_LOG_LID_CHANGED_NS, 4096), 4096, now_);
    return uint32_t(page<nvme_ns_list>(log).ns[0]);
  };
  target_.refresh_sizes();
  EXPECT_EQ(told(), 0u);
  std::filesystem::resize_file(path, 2 << 20);
  EXPECT_EQ(*namespaces_.back().volume->refresh(0), storage::SizeChange::kGrown);
  target_.refresh_sizes();
  EXPECT_EQ(told(), 5u);
  target_.refresh_sizes();
  EXPECT_EQ(told(), 0u);
  std::filesystem::remove(path);
}

// A size that Identify reported and no event compares with would stay with the host forever.
TEST_F(ConnectTest, IdentifyReportsTheSizeOfAnEvent) {
  const std::string path = ::testing::TempDir() + "nvmf_cut";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 2 << 20);
  namespaces_.push_back(make_namespace(5, "file:" + path));
  apply();
  auto mine = enabled();
  const auto blocks = [&] {
    const nvme::Sqe command = admin_command(nvme::AdminOpcode::kIdentify, 5, NVME_IDENTIFY_CNS_NS);
    return page<nvme_id_ns>(mine->admin(command, 4096, now_)).nsze;
  };
  const uint64_t whole = blocks();
  // Detected by a request of a host that has disconnected by then.
  std::filesystem::resize_file(path, 1 << 20);
  EXPECT_EQ(*namespaces_.back().volume->refresh(0), storage::SizeChange::kShrunk);
  EXPECT_EQ(blocks(), whole);
  target_.refresh_sizes();
  EXPECT_EQ(blocks(), whole / 2);
  std::filesystem::remove(path);
}

TEST(Subsystem, ReportsWhatChanged) {
  SubsystemOptions options;
  options.nqn = kNqn;
  Subsystem subsystem(options, 1);
  auto a = *storage::open("ram:1MiB");
  auto b = *storage::open("ram:1MiB");
  const auto ns = [](uint32_t id, const std::shared_ptr<storage::Volume>& v) {
    return Namespace{.nsid = id, .volume = v, .uuid = {}};
  };
  const auto changed = [&](std::vector<Namespace> namespaces) {
    return subsystem.set_namespaces(std::move(namespaces)).nsids_for(kHost);
  };
  EXPECT_EQ(changed({ns(2, a), ns(1, b)}), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(changed({ns(1, b), ns(2, a)}), std::vector<uint32_t>{});
  EXPECT_EQ(changed({ns(1, a), ns(3, b)}), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(subsystem.version(), 3u);
  EXPECT_EQ(subsystem.namespaces()->find(2), nullptr);
}

// Of a new subsystem with one namespace.
std::shared_ptr<const NamespaceTable> table_of(const std::shared_ptr<storage::Volume>& volume) {
  SubsystemOptions options;
  options.nqn = kNqn;
  Subsystem subsystem(options, 1);
  (void)subsystem.set_namespaces({{.nsid = 1, .volume = volume, .uuid = {}}});
  return subsystem.namespaces();
}

// A subsystem that is taken out by mistake and comes back has what its hosts mean.
TEST(Subsystem, AStoreIsTheSameInEverySubsystemThatServesIt) {
  const auto a = *storage::open("ram:1MiB");
  const auto b = *storage::open("ram:1MiB");
  const KnownStores known(*table_of(a));
  EXPECT_TRUE(known.means(*table_of(a)->find(1)));
  EXPECT_FALSE(known.means(*table_of(b)->find(1)));
}

// Another program on the host looks at the new store, and ends in good order or not.
TEST(LostHosts, WhatOneMeansIsNotForgottenForAnother) {
  const auto a = table_of(*storage::open("ram:1MiB")), b = table_of(*storage::open("ram:1MiB"));
  const Namespace &on_a = *a->find(1), &on_b = *b->find(1);
  constexpr Nanoseconds kNow = std::chrono::hours(100);
  LostHosts lost;
  EXPECT_TRUE(lost.known("host", *b, kNow).means(on_b)) << "it was never here";
  lost.lost("host", KnownStores(*a));
  lost.lost("host", KnownStores(*a));
  EXPECT_EQ(lost.size(), 1u);
  EXPECT_TRUE(lost.known("other", *b, kNow).means(on_b));
  // A controller that ended with a shutdown leaves no knowledge; a lost one does.
  EXPECT_FALSE(lost.known("host", *b, kNow).means(on_b));
  EXPECT_FALSE(lost.known("host", *b, kNow).means(on_b));
  lost.lost("host", KnownStores(*b));
  KnownStores known = lost.known("host", *b, kNow);
  EXPECT_FALSE(known.means(on_b));
  EXPECT_FALSE(known.means(on_a));
  EXPECT_TRUE(known.identified(on_b)) << "it sees the nsid go";
  EXPECT_FALSE(known.identified(on_b));
  EXPECT_TRUE(known.means(on_b));
  // The first one has given up by then.
  const KnownStores later = lost.known("host", *b, kNow + LostHosts::kMayComeAgain * 2);
  EXPECT_TRUE(later.means(on_b));
}

TEST(LostHosts, TheOldestIsForgotten) {
  const auto a = table_of(*storage::open("ram:1MiB")), b = table_of(*storage::open("ram:1MiB"));
  LostHosts lost;
  for (size_t i = 0; i <= kMaxLostHosts; ++i) lost.lost(std::to_string(i), KnownStores(*a));
  EXPECT_EQ(lost.size(), kMaxLostHosts);
  EXPECT_TRUE(lost.known("0", *b, Nanoseconds{1}).means(*b->find(1)));
  EXPECT_FALSE(lost.known("1", *b, Nanoseconds{1}).means(*b->find(1)));
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
