// A host with a key: what it may do before it has authenticated, and what ends its connection.
#include <cstring>

#include "examples/protocol/nvme/auth/host_side.h"
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::FabricsType;
namespace auth = nvme::auth;

// Of the bytes 0 to 31.
constexpr char kKey[] = "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";

class Authentication : public ::testing::Test {
 protected:
  Authentication() { serve(kKey); }

  void serve(const std::string& key, DiscoveryProof discovery = DiscoveryProof::kOff) {
    Config config;
    config.discovery_proof = discovery;
    config.may_be_empty = true;
    config.listen = {"uiwarp://127.0.0.1:4420"};
    SubsystemConfig& subsystem = config.subsystems.emplace_back();
    subsystem.nqn = kSubsystem;
    subsystem.hosts.emplace({std::string(kHostNqn)});
    if (!key.empty()) subsystem.proofs[kHostNqn].key = key;
    subsystem.namespaces.emplace_back().storage = "ram:1MiB";
    ASSERT_TRUE(complete(config).ok()) << complete(config);
    ASSERT_TRUE(world_.service().apply(config).ok()) << world_.service().apply(config);
  }

  // Connect alone.
  nvme::Cqe join(RawQueue& queue, uint16_t controller = nvme::kDynamicController,
                 const char* host = kHostNqn) {
    nvme::ConnectCommand command;
    command.command_id = queue.next_id++;
    command.queue_id = queue.id;
    command.sq_size0 = uint16_t{31};
    if (queue.id == 0) command.keep_alive_ms = keep_alive_ms_;
    nvme::ConnectData data{};
    std::fill(std::begin(data.hostid), std::end(data.hostid), 7);
    data.cntlid = controller;
    nvme::set_field(data.subsysnqn, nqn_);
    nvme::set_field(data.hostnqn, host);
    std::memcpy(queue.memory.data(), &data, sizeof data);
    command.sgl = SglDescriptor::keyed(queue.buffer(0, sizeof data), false);
    return queue.execute(command);
  }
  Status enable(RawQueue& queue) {
    nvme::PropertyCommand enable;
    enable.type = FabricsType::kPropertySet;
    enable.command_id = queue.next_id++;
    enable.offset = uint32_t(nvme::Property::kCc);
    enable.value = uint64_t(nvme::kCcEnable | nvme::kCcEntrySizes);
    return queue.execute(enable).status();
  }
  nvme::AuthCommand command(RawQueue& queue, FabricsType type, uint32_t bytes) {
    nvme::AuthCommand command;
    command.type = type;
    command.command_id = queue.next_id++;
    command.security_protocol = auth::kSecurityProtocol;
    command.specific0 = command.specific1 = auth::kSecuritySpecific;
    command.length = bytes;
    command.sgl = SglDescriptor::keyed(queue.buffer(0, bytes), false);
    return command;
  }
  Status send(RawQueue& queue, const std::vector<std::byte>& message) {
    std::memcpy(queue.memory.data(), message.data(), message.size());
    return queue.execute(command(queue, FabricsType::kAuthSend, uint32_t(message.size()))).status();
  }
  std::vector<std::byte> receive(RawQueue& queue) {
    constexpr uint32_t kRoom = 4096;
    EXPECT_STATUS(queue.execute(command(queue, FabricsType::kAuthReceive, kRoom)).status(),
                  Status::kSuccess);
    const auto* const bytes = reinterpret_cast<const std::byte*>(queue.memory.data());
    return {bytes, bytes + kRoom};
  }
  // True: the target has accepted the key.
  bool authenticate(RawQueue& queue, const char* key = kKey) {
    auto secrets = std::make_shared<auth::HostSecrets>();
    secrets->key = *auth::parse_key(key);
    auth::HostSide side(secrets, kHostNqn, nqn_, ++transaction_);
    EXPECT_STATUS(send(queue, side.first()), Status::kSuccess);
    if (side.take(receive(queue)) != auth::HostSide::Next::kSend) return false;
    EXPECT_STATUS(send(queue, side.message()), Status::kSuccess);
    return side.take(receive(queue)) == auth::HostSide::Next::kDone;
  }

  // The text of the discovery log that the host sees.
  std::string discover(RawQueue& queue) {
    nvme::Sqe get = queue.admin(AdminOpcode::kGetLogPage, 0, 0, 4096);
    get.cdw10 = uint32_t{NVME_LOG_LID_DISCOVER | 1023u << 16};
    EXPECT_STATUS(queue.execute(get).status(), Status::kSuccess);
    return {reinterpret_cast<const char*>(queue.memory.data()), 4096};
  }

  World world_;
  std::string nqn_ = kSubsystem;  // of join() and authenticate()
  uint16_t transaction_ = 0;
  uint32_t keep_alive_ms_ = 0;
};

class DiscoveryAuthentication : public Authentication {
 protected:
  DiscoveryAuthentication() {
    serve(kKey, DiscoveryProof::kKeys);
    nqn_ = nvme::kDiscoveryNqn;
  }
};

TEST_F(DiscoveryAuthentication, AHostWithAKeyProvesItFirst) {
  RawQueue queue(world_, 0);
  EXPECT_EQ(uint64_t(join(queue).result) >> 16, 2u);  // AUTHREQ.ATR
  EXPECT_STATUS(enable(queue), dnr(Status::kAuthRequired));
  EXPECT_STATUS(queue.execute(queue.admin(AdminOpcode::kGetLogPage, 0, 0, 4096)).status(),
                dnr(Status::kAuthRequired));
  ASSERT_TRUE(authenticate(queue));
  EXPECT_STATUS(enable(queue), Status::kSuccess);
  EXPECT_NE(discover(queue).find(kSubsystem), std::string::npos);
  ASSERT_TRUE(authenticate(queue)) << "again";
  EXPECT_NE(discover(queue).find(kSubsystem), std::string::npos);
  const auto discovery = world_.service().target().proving_discovery();
  ASSERT_NE(discovery, nullptr);
  EXPECT_EQ(discovery->totals().authentications, 2u);
}

TEST_F(DiscoveryAuthentication, AWrongKeyIsRefusedAndCounted) {
  constexpr char kOther[] =
      "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
  RawQueue queue(world_, 0);
  join(queue);
  EXPECT_FALSE(authenticate(queue, kOther));
  EXPECT_TRUE(world_.until([&] { return queue.down; }));
  EXPECT_EQ(world_.service().target().proving_discovery()->totals().authentication_failures, 1u);
}

TEST_F(DiscoveryAuthentication, AHostWithoutAKeyMayDiscoverUnlessRequired) {
  constexpr char kOther[] = "nqn.2026-11.org.example:other";
  RawQueue queue(world_, 0);
  EXPECT_EQ(uint64_t(join(queue, nvme::kDynamicController, kOther).result) >> 16, 0u);
  EXPECT_STATUS(enable(queue), Status::kSuccess);
  EXPECT_EQ(discover(queue).find(kSubsystem), std::string::npos);
  serve(kKey, DiscoveryProof::kRequired);
  EXPECT_TRUE(world_.until([&] { return queue.down; })) << "it may no longer";
  RawQueue again(world_, 0);
  EXPECT_STATUS(join(again, nvme::kDynamicController, kOther).status(),
                dnr(Status::kConnectInvalidHost));
  RawQueue known(world_, 0);
  EXPECT_EQ(uint64_t(join(known).result) >> 16, 2u);
}

TEST_F(DiscoveryAuthentication, AReloadEndsWhoHasNotProvenAndKeepsWhoHas) {
  serve(kKey);
  EXPECT_EQ(world_.service().target().proving_discovery(), nullptr);
  RawQueue open(world_, 0);
  EXPECT_EQ(uint64_t(join(open).result) >> 16, 0u);
  EXPECT_STATUS(enable(open), Status::kSuccess);
  serve(kKey, DiscoveryProof::kKeys);
  EXPECT_TRUE(world_.until([&] { return open.down; }));
  RawQueue proven(world_, 0);
  join(proven);
  ASSERT_TRUE(authenticate(proven));
  EXPECT_STATUS(enable(proven), Status::kSuccess);
  nvme::Sqe events = proven.admin(AdminOpcode::kSetFeatures, 0, 0, 0);
  events.cdw10 = uint32_t{0x0b};
  events.cdw11 = kEventDiscovery;
  EXPECT_STATUS(proven.execute(events).status(), Status::kSuccess);
  serve(kKey, DiscoveryProof::kRequired);
  world_.run_for(seconds(1));
  EXPECT_TRUE(proven.connected());
  EXPECT_NE(discover(proven).find(kSubsystem), std::string::npos);
}

TEST_F(DiscoveryAuthentication, WhatItNeeds) {
  const auto keys_of = [](const char* text) {
    auto keys = std::make_shared<auth::HostKeys>();
    keys->host = *auth::parse_key(text);
    return keys;
  };
  constexpr char kOther[] =
      "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
  auto few = keys_of(kOther);
  few->hashes = {auth::Hash::kSha256};
  const std::vector<HostKeyMap> maps = {{{kHostNqn, keys_of(kKey)}},
                                        {{kHostNqn, few}, {"nqn.2026-11.org.example:b", few}},
                                        {{kHostNqn, keys_of(kKey)}}};
  EXPECT_TRUE(discovery_access(DiscoveryProof::kOff, maps).keys.empty());
  const DiscoveryAccess access = discovery_access(DiscoveryProof::kRequired, maps);
  EXPECT_FALSE(access.any_host);
  EXPECT_EQ(access.hosts.size(), 2u);
  const auth::HostKeys& both = *access.keys.at(kHostNqn);
  EXPECT_EQ(both.others.size(), 1u);
  EXPECT_EQ(both.hashes, std::vector{auth::Hash::kSha256});
  Config config;
  config.discovery_proof = DiscoveryProof::kRequired;
  EXPECT_FALSE(check_discovery_proof(config).ok());
  config.may_be_empty = true;
  EXPECT_TRUE(check_discovery_proof(config).ok());
}

TEST_F(Authentication, ConnectDemandsItOnEveryQueue) {
  RawQueue admin(world_, 0);
  const nvme::Cqe connected = join(admin);
  EXPECT_STATUS(connected.status(), Status::kSuccess);
  EXPECT_EQ(uint64_t(connected.result) >> 16, 2u);  // AUTHREQ.ATR
  ASSERT_TRUE(authenticate(admin));
  EXPECT_STATUS(enable(admin), Status::kSuccess);
  RawQueue io(world_, 1);
  const nvme::Cqe joined = join(io, uint16_t(connected.result));
  EXPECT_EQ(uint64_t(joined.result) >> 16, 2u);
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, 0, 1)).status(), dnr(Status::kAuthRequired));
  ASSERT_TRUE(authenticate(io));
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
}

TEST_F(Authentication, OtherCommandsAreRefusedBeforeIt) {
  RawQueue queue(world_, 0);
  join(queue);
  EXPECT_STATUS(enable(queue), dnr(Status::kAuthRequired));
  EXPECT_STATUS(queue.execute(queue.admin(AdminOpcode::kIdentify, 1, 0, 4096)).status(),
                dnr(Status::kAuthRequired));
  // Its controller is not enabled, so nobody can join it.
  RawQueue io(world_, 1);
  EXPECT_STATUS(join(io, 1).status(), dnr(Status::kCommandSequence));
  for (int i = 0; i < 20 && queue.connected(); ++i) {
    queue.submit(queue.admin(AdminOpcode::kIdentify, 1, 0, 4096));
    world_.run_for(milliseconds(1));
  }
  EXPECT_TRUE(queue.down);
}

TEST_F(Authentication, AHostThatDoesNotCompleteItIsDropped) {
  RawQueue idle(world_, 0), half(world_, 0);
  join(idle);
  join(half);
  auto secrets = std::make_shared<auth::HostSecrets>();
  auth::HostSide side(secrets, kHostNqn, kSubsystem, 1);
  EXPECT_STATUS(send(half, side.first()), Status::kSuccess);
  world_.run_for(seconds(20));
  EXPECT_TRUE(idle.connected() && half.connected());
  world_.run_for(seconds(12));
  EXPECT_TRUE(idle.down);
  EXPECT_TRUE(half.down);
  EXPECT_EQ(world_.service().target().find(kSubsystem)->totals().authentication_failures, 2u);
}

TEST_F(Authentication, KeepAliveBeginsAfterItAndEachQueueThatProvesCounts) {
  keep_alive_ms_ = 2000;
  RawQueue admin(world_, 0);
  const uint16_t controller = uint16_t(join(admin).result);
  world_.run_for(seconds(10));  // the host computes
  ASSERT_TRUE(admin.connected());
  ASSERT_TRUE(authenticate(admin));
  EXPECT_STATUS(enable(admin), Status::kSuccess);
  for (uint16_t id = 1; id <= 3; ++id) {
    world_.run_for(milliseconds(1500));
    RawQueue io(world_, id);
    EXPECT_STATUS(join(io, controller).status(), Status::kSuccess);
    ASSERT_TRUE(authenticate(io)) << id;
  }
  // A queue without a proof does not.
  world_.run_for(milliseconds(1500));
  RawQueue stranger(world_, 4);
  EXPECT_STATUS(join(stranger, controller).status(), Status::kSuccess);
  world_.run_for(milliseconds(1500));
  EXPECT_TRUE(admin.down);
}

TEST_F(Authentication, AFailureEndsTheConnectionAfterItsMessage) {
  constexpr char kOther[] =
      "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
  RawQueue queue(world_, 0);
  join(queue);
  EXPECT_FALSE(authenticate(queue, kOther));
  EXPECT_TRUE(world_.until([&] { return queue.down; }));
  RawQueue again(world_, 0);
  join(again);
  EXPECT_TRUE(authenticate(again));
}

TEST_F(Authentication, ItMayBeRepeated) {
  RawQueue queue(world_, 0);
  join(queue);
  ASSERT_TRUE(authenticate(queue));
  EXPECT_STATUS(enable(queue), Status::kSuccess);
  ASSERT_TRUE(authenticate(queue));
  const auto counted = world_.service().target().find(kSubsystem)->totals();
  EXPECT_EQ(counted.authentications, 2u);
  EXPECT_EQ(counted.authentication_failures, 0u);
}

TEST_F(Authentication, MalformedCommandsAreRefused) {
  RawQueue queue(world_, 0);
  join(queue);
  nvme::AuthCommand bad = command(queue, FabricsType::kAuthSend, 64);
  bad.security_protocol = 0;
  EXPECT_STATUS(queue.execute(bad).status(), dnr(Status::kInvalidField));
  bad = command(queue, FabricsType::kAuthSend, 64);
  bad.length = uint32_t{0};
  EXPECT_STATUS(queue.execute(bad).status(), dnr(Status::kInvalidField));
  bad = command(queue, FabricsType::kAuthSend, 64);
  bad.length = uint32_t{65};
  EXPECT_STATUS(queue.execute(bad).status(), dnr(Status::kSglDataLength));
  bad = command(queue, FabricsType::kAuthReceive, kMaxProofBytes + 1);
  EXPECT_STATUS(queue.execute(bad).status(), dnr(Status::kInvalidField));
  ASSERT_TRUE(authenticate(queue));
}

TEST_F(Authentication, AKeyForAConnectedHostDropsIt) {
  serve("");
  Host host(world_);
  EXPECT_TRUE(host.io.connected());
  serve(kKey);
  EXPECT_TRUE(world_.until([&] { return host.io.down; }));
}

TEST_F(Authentication, AHostWithoutAKeyHasNoSuchCommands) {
  serve("");
  RawQueue queue(world_, 0);
  EXPECT_EQ(uint64_t(join(queue).result) >> 16, 0u);
  EXPECT_STATUS(queue.execute(command(queue, FabricsType::kAuthReceive, 64)).status(),
                dnr(Status::kInvalidOpcode));
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
