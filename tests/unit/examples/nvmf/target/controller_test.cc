// Properties, admin commands, log pages, events and keep-alive of a controller, without any I/O.
#include "examples/nvmf/target/controller.h"

#include <cstring>

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::AdminOpcode;
using nvme::FabricsType;
using nvme::Property;
using nvme::Status;
using std::chrono::milliseconds;

class ControllerTest : public TargetFixture {
 protected:
  AdminReply run(Controller& c, const nvme::Sqe& sqe, uint64_t length = 0) {
    return c.admin(sqe, length, now_);
  }
  AdminReply identify(Controller& c, uint32_t cns, uint32_t nsid = 0, uint32_t cdw11 = 0) {
    return run(c, admin_command(AdminOpcode::kIdentify, nsid, cns, cdw11), 4096);
  }
  AdminReply log(Controller& c, uint32_t id, uint32_t bytes, uint64_t offset = 0,
                 bool retain = false) {
    return run(c, log_command(id, bytes, offset, retain), bytes);
  }
  AdminReply set_feature(Controller& c, uint32_t id, uint32_t value) {
    return run(c, admin_command(AdminOpcode::kSetFeatures, 0, id, value));
  }
  AdminReply get_feature(Controller& c, uint32_t id, uint32_t select = 0) {
    return run(c, admin_command(AdminOpcode::kGetFeatures, 0, id | select << 8));
  }
};

TEST_F(ControllerTest, PropertiesAsAHostReadsThem) {
  auto c = connect();
  const uint64_t cap = get(*c, Property::kCap, nvme::kPropertySize8);
  EXPECT_EQ(cap & 0xffff, 1023u);  // MQES
  EXPECT_EQ(cap >> 37 & 1, 1u);    // NVM command set
  EXPECT_EQ(cap >> 48 & 0xf, 0u);  // MPSMIN: 4 KiB
  EXPECT_EQ(get(*c, Property::kVs), 0x10400u);
  EXPECT_EQ(get(*c, Property::kCsts), 0u);
  EXPECT_STATUS(c->property_get(property(FabricsType::kPropertyGet, Property::kCap)).status,
                dnr(Status::kInvalidField));  // CAP has eight bytes
  EXPECT_STATUS(c->property_get(property(FabricsType::kPropertyGet, Property(0x30))).status,
                dnr(Status::kInvalidField));
  EXPECT_STATUS(
      c->property_set(property(FabricsType::kPropertySet, Property::kCsts, 1), now_).status,
      dnr(Status::kInvalidField));
}

TEST_F(ControllerTest, EnableDisableShutdown) {
  auto c = connect();
  EXPECT_STATUS(identify(*c, 1).status, dnr(Status::kCommandSequence));  // not enabled yet
  enable(*c);
  EXPECT_EQ(get(*c, Property::kCsts), nvme::kCstsReady);
  EXPECT_TRUE(c->enabled());
  // Shutdown.
  c->property_set(property(FabricsType::kPropertySet, Property::kCc,
                           nvme::kCcEnable | nvme::kCcEntrySizes | nvme::kCcShutdownNormal),
                  now_);
  EXPECT_EQ(get(*c, Property::kCsts), nvme::kCstsReady | nvme::kCstsShutdownComplete);
  EXPECT_FALSE(c->enabled());
  c->property_set(property(FabricsType::kPropertySet, Property::kCc, 0), now_);
  EXPECT_EQ(get(*c, Property::kCsts), 0u);
  EXPECT_TRUE(host_.dropped.empty());
}

// A reset or a shutdown takes the I/O queues with it and is over when the last one is.
TEST_F(ControllerTest, ResetAndShutdownWaitForTheIoQueues) {
  const auto cc = [&](Controller& c, uint32_t value) {
    c.property_set(property(FabricsType::kPropertySet, Property::kCc, value), now_);
    return get(c, Property::kCsts);
  };
  constexpr uint32_t kEnable = nvme::kCcEnable | nvme::kCcEntrySizes;
  auto c = enabled();
  ASSERT_EQ(c->join(1, {0, 99}), Controller::Join::kJoined);
  EXPECT_EQ(c->join(1, {0, 98}), Controller::Join::kRefused) << "there is one of that number";
  EXPECT_EQ(cc(*c, 0), nvme::kCstsReady) << "not reset before its queue is gone";
  ASSERT_EQ(host_.dropped.size(), 1u);
  EXPECT_EQ(host_.dropped[0].id, 99u);
  EXPECT_EQ(cc(*c, kEnable), nvme::kCstsReady) << "a reset is not interrupted";
  EXPECT_FALSE(c->enabled());
  EXPECT_EQ(c->join(2, {0, 100}), Controller::Join::kWait);
  c->close(1);
  EXPECT_EQ(get(*c, Property::kCsts), nvme::kCstsReady) << "its storage I/O may be under way";
  EXPECT_EQ(c->join(2, {0, 100}), Controller::Join::kWait);
  c->detach(1);
  EXPECT_EQ(get(*c, Property::kCsts), 0u);
  EXPECT_EQ(c->join(2, {0, 100}), Controller::Join::kRefused) << "not enabled";
  EXPECT_EQ(cc(*c, kEnable), nvme::kCstsReady);
  ASSERT_EQ(c->join(2, {0, 100}), Controller::Join::kJoined);

  host_.dropped.clear();
  EXPECT_EQ(cc(*c, kEnable | nvme::kCcShutdownNormal),
            nvme::kCstsReady | nvme::kCstsShutdownOccurring);
  EXPECT_FALSE(c->enabled());
  EXPECT_EQ(host_.dropped.size(), 1u);
  c->close(2);
  c->detach(2);
  EXPECT_EQ(get(*c, Property::kCsts), nvme::kCstsReady | nvme::kCstsShutdownComplete);
}

TEST_F(ControllerTest, BadConfigurationIsFatal) {
  auto c = connect();
  c->property_set(
      property(FabricsType::kPropertySet, Property::kCc, nvme::kCcEnable | 4u << 16 | 4u << 20),
      now_);
  EXPECT_EQ(get(*c, Property::kCsts), nvme::kCstsFatal);
}

TEST_F(ControllerTest, IdentifyController) {
  auto c = enabled();
  const AdminReply reply = identify(*c, NVME_IDENTIFY_CNS_CTRL);
  ASSERT_EQ(reply.data.size(), 4096u);
  const auto id = page<nvme_id_ctrl>(reply);
  EXPECT_EQ(id.cntlid, c->identity().id);
  EXPECT_EQ(std::string_view(id.subnqn), kNqn);
  EXPECT_EQ(id.mdts, 8);
  EXPECT_EQ(id.maxcmd, 1024);
  EXPECT_EQ(id.ioccsz, (64 + 4096) / 16u);
  EXPECT_EQ(id.iorcsz, 1u);
  EXPECT_EQ(id.sgls & 0x100007u, 0x100005u);
  EXPECT_EQ(id.cntrltype, 1);
  EXPECT_EQ(id.oaes, 1u << 8 | 1u << 11);
  EXPECT_NE(id.ctratt & NVME_CTRL_CTRATT_TBKAS, 0u);
  EXPECT_NE(id.kas, 0);
}

TEST_F(ControllerTest, IdentifyNamespaces) {
  auto c = enabled();
  const auto ns = page<nvme_id_ns>(identify(*c, NVME_IDENTIFY_CNS_NS, 3));
  EXPECT_EQ(ns.nsze, 2048u);
  EXPECT_EQ(ns.lbaf[0].ds, 9);
  // An unused id below NN is all zeroes; others do not exist.
  EXPECT_EQ(page<nvme_id_ns>(identify(*c, NVME_IDENTIFY_CNS_NS, 2)).nsze, 0u);
  for (const uint32_t nsid : {0u, kMaxNamespaces + 1, nvme::kBroadcastNsid}) {
    EXPECT_STATUS(identify(*c, NVME_IDENTIFY_CNS_NS, nsid).status, dnr(Status::kInvalidNamespace));
  }
  const auto list = page<nvme_ns_list>(identify(*c, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0));
  EXPECT_EQ(list.ns[0], 1u);
  EXPECT_EQ(list.ns[1], 3u);
  EXPECT_EQ(list.ns[2], 0u);
  EXPECT_EQ(page<nvme_ns_list>(identify(*c, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 1)).ns[0], 3u);
  EXPECT_STATUS(identify(*c, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0xfffffffe).status,
                dnr(Status::kInvalidNamespace));
  const AdminReply descriptors = identify(*c, NVME_IDENTIFY_CNS_NS_DESC_LIST, 3);
  EXPECT_EQ(descriptors.data[0], std::byte{NVME_NIDT_NGUID});
  EXPECT_EQ(descriptors.data[1], std::byte{16});
  EXPECT_EQ(descriptors.data[4], std::byte{3});
  EXPECT_EQ(descriptors.data[20], std::byte{NVME_NIDT_UUID});
  EXPECT_STATUS(identify(*c, NVME_IDENTIFY_CNS_NS_DESC_LIST, 2).status,
                dnr(Status::kInvalidNamespace));
}

TEST_F(ControllerTest, IdentifyByCommandSet) {
  auto c = enabled();
  EXPECT_STATUS(identify(*c, NVME_IDENTIFY_CNS_CSI_NS, 1).status, Status::kSuccess);
  EXPECT_STATUS(identify(*c, NVME_IDENTIFY_CNS_CSI_CTRL).status, Status::kSuccess);
  EXPECT_EQ(page<nvme_ns_list>(identify(*c, NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST)).ns[1], 3u);
  const uint32_t zoned = 2u << 24;
  for (const uint32_t cns : {5u, 6u, 7u}) {
    EXPECT_STATUS(identify(*c, cns, 1, zoned).status, dnr(Status::kInvalidField));
  }
  EXPECT_STATUS(identify(*c, 0x1f).status, dnr(Status::kInvalidField));
  // A buffer of another length than the page.
  EXPECT_STATUS(run(*c, admin_command(AdminOpcode::kIdentify, 0, 1), 512).status,
                dnr(Status::kSglDataLength));
}

TEST_F(ControllerTest, UnknownCommands) {
  auto c = enabled();
  for (const uint8_t opcode : {0x00, 0x01, 0x04, 0x05, 0x0d, 0x10, 0x82, 0x84, 0xff}) {
    EXPECT_STATUS(run(*c, admin_command(AdminOpcode(opcode))).status, dnr(Status::kInvalidOpcode));
  }
}

TEST_F(ControllerTest, Features) {
  auto c = enabled();
  EXPECT_EQ(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 3 | 7u << 16).result, 3 | 7u << 16);
  EXPECT_EQ(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 0xfffe | 0xfffeu << 16).result,
            127 | 127u << 16);
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 0xffff).status,
                dnr(Status::kInvalidField));
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_KATO, 1501).status, Status::kSuccess);
  EXPECT_EQ(get_feature(*c, NVME_FEAT_FID_KATO).result, 1600u);  // whole 100 ms
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_KATO, 0xffffffff).status, Status::kSuccess);
  EXPECT_GT(get_feature(*c, NVME_FEAT_FID_KATO).result, 0xfffff000u);
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_HOST_ID, 1).status, dnr(Status::kCommandSequence));
  EXPECT_STATUS(
      run(*c, admin_command(AdminOpcode::kSetFeatures, 0, NVME_FEAT_FID_KATO | 1u << 31)).status,
      dnr(Status::kFeatureNotSaveable));
  EXPECT_STATUS(set_feature(*c, 0x77, 0).status, dnr(Status::kInvalidField));
  EXPECT_STATUS(get_feature(*c, 0x77).status, dnr(Status::kInvalidField));
  EXPECT_STATUS(get_feature(*c, NVME_FEAT_FID_KATO, 5).status, dnr(Status::kInvalidField));
  EXPECT_EQ(get_feature(*c, NVME_FEAT_FID_KATO, 3).result, 4u);  // changeable
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_POWER_MGMT, 1).status, dnr(Status::kInvalidField));
  // RAM has no volatile cache to switch.
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_VOLATILE_WC, 0).status, dnr(Status::kInvalidField));
  const AdminReply id =
      run(*c, admin_command(AdminOpcode::kGetFeatures, 0, NVME_FEAT_FID_HOST_ID, 1), 16);
  ASSERT_EQ(id.data.size(), 16u);
  EXPECT_EQ(id.data[5], std::byte{7});
  EXPECT_STATUS(
      run(*c, admin_command(AdminOpcode::kGetFeatures, 0, NVME_FEAT_FID_HOST_ID), 16).status,
      dnr(Status::kHostIdInconsistent));
}

TEST_F(ControllerTest, FeaturesOfTheControllerAreSetForNoNamespaceOrAll) {
  auto c = enabled();
  const auto set_for = [&](uint32_t nsid, uint32_t id) {
    return run(*c, admin_command(AdminOpcode::kSetFeatures, nsid, id, 0)).status;
  };
  for (const uint32_t id : {NVME_FEAT_FID_ARBITRATION, NVME_FEAT_FID_POWER_MGMT, NVME_FEAT_FID_KATO,
                            NVME_FEAT_FID_ASYNC_EVENT}) {
    EXPECT_STATUS(set_for(0, id), Status::kSuccess) << id;
    EXPECT_STATUS(set_for(0xffffffff, id), Status::kSuccess) << id;
    EXPECT_STATUS(set_for(1, id), dnr(Status::kFeatureNotNamespaceSpecific)) << id;
  }
  // Error recovery is a namespace's.
  EXPECT_STATUS(set_for(1, NVME_FEAT_FID_ERR_RECOVERY), Status::kSuccess);
  EXPECT_STATUS(set_for(77, NVME_FEAT_FID_ERR_RECOVERY), dnr(Status::kInvalidNamespace));
}

TEST_F(ControllerTest, ThresholdsOfTheCompositeSensorOnly) {
  auto c = enabled();
  // [base] 5.27.1.3: bits 15:0 value, 19:16 sensor, 21:20 which of the two thresholds.
  const uint32_t over = get_feature(*c, NVME_FEAT_FID_TEMP_THRESH).result;
  EXPECT_EQ(over, 273u + 70) << "the warning temperature of Identify";
  const auto get_at = [&](uint32_t which) {
    nvme::Sqe sqe = admin_command(AdminOpcode::kGetFeatures, 0, NVME_FEAT_FID_TEMP_THRESH, which);
    return run(*c, sqe);
  };
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_TEMP_THRESH, 350).status, Status::kSuccess);
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_TEMP_THRESH, 260 | 1u << 20).status,
                Status::kSuccess);
  EXPECT_EQ(get_at(0).result, 350u);
  EXPECT_EQ(get_at(1u << 20).result, 260u);
  for (const uint32_t bad : {1u << 16, 2u << 20, 3u << 20}) {
    EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_TEMP_THRESH, 300 | bad).status,
                  dnr(Status::kInvalidField));
    EXPECT_STATUS(get_at(bad).status, dnr(Status::kInvalidField));
  }
}

// [base] 5.27.1.5: before the first I/O queue, and not afterwards.
TEST_F(ControllerTest, NumberOfQueuesIsSettledBeforeTheFirst) {
  auto c = enabled();
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 3 | 3u << 16).status, Status::kSuccess);
  EXPECT_EQ(c->join(1, {0, 50}), Controller::Join::kJoined);
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 3 | 3u << 16).status,
                dnr(Status::kCommandSequence));
}

// What LPA promises is there: bit 5 stands for log pages that this controller does not have.
TEST_F(ControllerTest, LogAttributesAnnounceOnlyWhatIsImplemented) {
  auto c = enabled();
  const auto id = page<nvme_id_ctrl>(identify(*c, 1));
  EXPECT_EQ(id.lpa & 1 << 5, 0);
  EXPECT_NE(id.lpa & 1 << 1, 0);
  EXPECT_STATUS(log(*c, NVME_LOG_LID_CMD_EFFECTS, 4096).status, Status::kSuccess);
  EXPECT_STATUS(log(*c, 0x12, 1024).status, dnr(Status::kInvalidLogPage));
}

// Both lists are made from the tables that answer: they promise what is there, and all of it.
TEST_F(ControllerTest, ListsOfPagesAndCommandsAreWhatIsAnswered) {
  auto c = enabled();
  const auto pages = page<nvme_supported_log_pages>(log(*c, 0, 1024));
  for (uint32_t id = 0; id < 256; ++id) {
    EXPECT_EQ(pages.lid_support[id] != 0, log(*c, id, 512).status != dnr(Status::kInvalidLogPage))
        << id;
  }
  const auto effects = page<nvme_cmd_effects_log>(log(*c, NVME_LOG_LID_CMD_EFFECTS, 4096));
  for (uint32_t opcode = 0; opcode < 256; ++opcode) {
    if (opcode == nvme::kFabricsOpcode) continue;  // answered by the queue
    EXPECT_EQ(effects.acs[opcode] != 0,
              run(*c, admin_command(AdminOpcode(opcode))).status != dnr(Status::kInvalidOpcode))
        << opcode;
  }
}

// The queue carries it out; the controller refuses what is not announced.
TEST_F(ControllerTest, FormatNvm) {
  auto c = enabled();
  const auto format = [&](uint32_t cdw10) {
    return run(*c, admin_command(AdminOpcode::kFormat, 1, cdw10));
  };
  for (const uint32_t erase : {0u, 1u << 9}) {
    const AdminReply reply = format(erase);
    EXPECT_EQ(reply.kind, AdminReply::Kind::kFormat);
    EXPECT_EQ(reply.nsid, 1u);
  }
  EXPECT_STATUS(format(2u << 9).status, dnr(Status::kInvalidField));  // cryptographic
  EXPECT_STATUS(format(7u << 9).status, dnr(Status::kInvalidField));
  // Other formats, metadata in the block, protection information.
  for (const uint32_t bad : {1u, 15u, 1u << 4, 1u << 5, 1u << 8, 1u << 12}) {
    EXPECT_STATUS(format(bad).status, dnr(Status::kInvalidFormat)) << bad;
  }
  auto discovery = enabled(nvme::kDiscoveryNqn);
  EXPECT_STATUS(run(*discovery, admin_command(AdminOpcode::kFormat, 1)).status,
                dnr(Status::kInvalidOpcode));
}

TEST_F(ControllerTest, LogPages) {
  auto c = enabled();
  const auto supported = page<nvme_supported_log_pages>(log(*c, 0, 1024));
  for (const uint32_t id : {0u, 1u, 2u, 3u, 4u, 5u}) EXPECT_EQ(supported.lid_support[id], 1u) << id;
  EXPECT_EQ(supported.lid_support[0x70], 0u);
  EXPECT_EQ(page<nvme_firmware_slot>(log(*c, 3, 512)).afi, 1);
  const auto effects = page<nvme_cmd_effects_log>(log(*c, 5, 4096));
  EXPECT_EQ(effects.iocs[1], 3u);
  EXPECT_EQ(effects.iocs[2], 1u);
  EXPECT_EQ(effects.acs[0x82], 0u);
  EXPECT_STATUS(log(*c, 0x70, 1024).status, dnr(Status::kInvalidLogPage));
  EXPECT_STATUS(log(*c, 0x0b, 64).status, dnr(Status::kInvalidLogPage));
  EXPECT_STATUS(log(*c, 2, 512, 516).status, dnr(Status::kInvalidField));  // beyond the end
  EXPECT_STATUS(log(*c, 2, 512, 2).status, dnr(Status::kInvalidField));    // not a dword
  EXPECT_STATUS(log(*c, 2, 2 << 20).status, dnr(Status::kInvalidField));   // beyond MDTS
  EXPECT_EQ(log(*c, 2, 1024).data.size(), 1024u);                          // zeroes behind the end
  nvme::Sqe one = log_command(2, 512);
  one.nsid = 1;
  EXPECT_STATUS(run(*c, one, 512).status, dnr(Status::kInvalidField));
}

TEST_F(ControllerTest, SmartLogCounts) {
  auto c = enabled();
  Counters& counters = c->subsystem().counters(0);
  counters.reads += 7;
  counters.bytes_read += 512'000 * 3 + 1;
  counters.writes += 2;
  ++counters.media_errors;
  const auto smart = page<nvme_smart_log>(log(*c, 2, 512));
  EXPECT_EQ(smart.host_reads[0], 7);
  EXPECT_EQ(smart.data_units_read[0], 4);
  EXPECT_EQ(smart.host_writes[0], 2);
  EXPECT_EQ(smart.media_errors[0], 1);
  EXPECT_EQ(smart.critical_warning, 0);
}

TEST_F(ControllerTest, ErrorLogNewestFirst) {
  auto c = enabled();
  for (uint16_t i = 0; i < 100; ++i) {
    c->record_error(1, i, dnr(Status::kLbaOutOfRange), 1, 1000 + i);
  }
  const AdminReply reply = log(*c, 1, 64 * 64);
  const auto first = nvme::read_struct<nvme_error_log_page>(reply.data);
  EXPECT_EQ(first.error_count, 100u);
  EXPECT_EQ(first.cmdid, 99);
  EXPECT_EQ(first.lba, 1099u);
  const auto last = nvme::read_struct<nvme_error_log_page>(std::span(reply.data).subspan(63 * 64));
  EXPECT_EQ(last.error_count, 37u);
}

// The whole way of an event: enabled, raised, answered, masked until its log was read.
TEST_F(ControllerTest, NamespaceChangeEvent) {
  auto c = enabled();
  nvme::Sqe request = admin_command(AdminOpcode::kAsyncEventRequest);
  request.command_id = uint16_t{10};
  EXPECT_EQ(run(*c, request).kind, AdminReply::Kind::kPark);
  const uint32_t five[] = {5};
  c->namespaces_changed(five);
  EXPECT_TRUE(c->take_events().empty()) << "the host did not ask for this event";
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << 8).status, Status::kSuccess);
  c->namespaces_changed(five);
  ASSERT_EQ(host_.ready.size(), 1u);
  auto events = c->take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].command_id, 10);
  EXPECT_EQ(events[0].result, 0x00040002u);
  // Masked: more changes pile up in the log.
  request.command_id = uint16_t{11};
  run(*c, request);
  const uint32_t six[] = {6};
  c->namespaces_changed(six);
  EXPECT_TRUE(c->take_events().empty());
  auto list = page<nvme_ns_list>(log(*c, NVME_LOG_LID_CHANGED_NS, 4096));
  EXPECT_EQ(list.ns[0], 5u);
  EXPECT_EQ(list.ns[1], 6u);
  EXPECT_EQ(page<nvme_ns_list>(log(*c, NVME_LOG_LID_CHANGED_NS, 4096)).ns[0], 0u);
  c->namespaces_changed(six);
  events = c->take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].command_id, 11);
}

TEST_F(ControllerTest, AnEventWaitsForARequest) {
  auto c = enabled();
  set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << 8);
  const uint32_t five[] = {5};
  c->namespaces_changed(five);
  EXPECT_TRUE(host_.ready.empty());
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  EXPECT_EQ(c->take_events().size(), 1u);
}

TEST_F(ControllerTest, ReadingWithRetainKeepsTheMask) {
  auto c = enabled();
  set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << 8);
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  const uint32_t five[] = {5};
  c->namespaces_changed(five);
  EXPECT_EQ(c->take_events().size(), 1u);
  log(*c, NVME_LOG_LID_CHANGED_NS, 4096, 0, true);
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  c->namespaces_changed(five);
  EXPECT_TRUE(c->take_events().empty());
}

// Who did not get the log has not read it.
TEST_F(ControllerTest, ARefusedReadLosesNoChange) {
  auto c = enabled();
  set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << 8);
  const uint32_t five[] = {5};
  c->namespaces_changed(five);
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  EXPECT_EQ(c->take_events().size(), 1u);
  EXPECT_STATUS(run(*c, log_command(NVME_LOG_LID_CHANGED_NS, 4096), 512).status,
                dnr(Status::kSglDataLength));
  EXPECT_STATUS(log(*c, NVME_LOG_LID_CHANGED_NS, 4096, 8192).status, dnr(Status::kInvalidField));
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  c->namespaces_changed(five);
  EXPECT_TRUE(c->take_events().empty()) << "the event is masked until the log is read";
  EXPECT_EQ(page<nvme_ns_list>(log(*c, NVME_LOG_LID_CHANGED_NS, 4096)).ns[0], 5u);
}

TEST_F(ControllerTest, ChangedListOverflows) {
  auto c = enabled();
  std::vector<uint32_t> many(kMaxChangedNamespaces + 1);
  for (uint32_t i = 0; i < many.size(); ++i) many[i] = i + 1;
  c->namespaces_changed(many);
  EXPECT_EQ(page<nvme_ns_list>(log(*c, NVME_LOG_LID_CHANGED_NS, 4096)).ns[0], nvme::kBroadcastNsid);
}

TEST_F(ControllerTest, EventRequestsHaveALimit) {
  auto c = enabled();
  for (uint16_t i = 0; i < kMaxAsyncEvents; ++i) {
    nvme::Sqe sqe = admin_command(AdminOpcode::kAsyncEventRequest);
    sqe.command_id = i;
    EXPECT_EQ(run(*c, sqe).kind, AdminReply::Kind::kPark);
  }
  EXPECT_STATUS(run(*c, admin_command(AdminOpcode::kAsyncEventRequest)).status,
                dnr(Status::kAsyncEventLimitExceeded));
  EXPECT_TRUE(c->unpark(2));
  EXPECT_FALSE(c->unpark(2));
}

TEST_F(ControllerTest, AbortFindsItsQueue) {
  auto c = enabled();
  ASSERT_EQ(c->join(1, {0, 77}), Controller::Join::kJoined);
  const nvme::Sqe sqe = admin_command(AdminOpcode::kAbort, 0, 1 | 1234u << 16);
  for (uint32_t i = 0; i < kMaxAborts; ++i) {
    const AdminReply reply = run(*c, sqe);
    EXPECT_EQ(reply.kind, AdminReply::Kind::kAbort);
    EXPECT_EQ(reply.abort_cid, 1234);
    EXPECT_EQ(reply.abort_queue.id, 77u);
  }
  EXPECT_STATUS(run(*c, sqe).status, Status::kAbortLimitExceeded);
  c->abort_finished();
  EXPECT_EQ(run(*c, sqe).kind, AdminReply::Kind::kAbort);
  // A queue that does not exist: nothing was aborted, without an error.
  c->abort_finished();
  const AdminReply none = run(*c, admin_command(AdminOpcode::kAbort, 0, 9));
  EXPECT_STATUS(none.status, Status::kSuccess);
  EXPECT_EQ(none.result, 1u);
}

TEST_F(ControllerTest, KeepAliveRunsOut) {
  auto c = enabled(kNqn, kHost, 2000);
  now_ += milliseconds(1900);
  EXPECT_FALSE(c->keep_alive_expired(now_));
  EXPECT_STATUS(run(*c, admin_command(AdminOpcode::kKeepAlive)).status, Status::kSuccess);
  now_ += milliseconds(1900);
  EXPECT_FALSE(c->keep_alive_expired(now_));
  c->note_traffic(now_);  // traffic-based: any command will do
  now_ += milliseconds(1900);
  EXPECT_FALSE(c->keep_alive_expired(now_));
  now_ += milliseconds(200);
  EXPECT_TRUE(c->keep_alive_expired(now_));
  EXPECT_EQ(get(*c, Property::kCsts) & nvme::kCstsFatal, nvme::kCstsFatal);
}

TEST_F(ControllerTest, WithoutTrafficModeOnlyKeepAliveCounts) {
  Target::Served served;
  served.options.nqn = kNqn;
  served.options.serial = "s1";
  served.options.traffic_keep_alive = false;
  target_.apply({served}, {});
  auto c = enabled(kNqn, kHost, 1000);
  EXPECT_EQ(page<nvme_id_ctrl>(identify(*c, 1)).ctratt & NVME_CTRL_CTRATT_TBKAS, 0u);
  now_ += milliseconds(900);
  c->note_traffic(now_);
  now_ += milliseconds(200);
  EXPECT_TRUE(c->keep_alive_expired(now_));
}

TEST_F(ControllerTest, DiscoveryController) {
  auto c = enabled(nvme::kDiscoveryNqn, kOtherHost);
  const auto id = page<nvme_id_ctrl>(identify(*c, 1));
  EXPECT_EQ(id.cntrltype, 2);
  EXPECT_EQ(std::string_view(id.subnqn), nvme::kDiscoveryNqn);
  EXPECT_EQ(id.nn, 0u);
  EXPECT_STATUS(identify(*c, 0, 1).status, dnr(Status::kInvalidField));
  const auto head = page<nvmf_discovery_log>(log(*c, 0x70, 1024));
  EXPECT_EQ(head.numrec, 1u) << "the private subsystem is not for this host";
  EXPECT_STATUS(log(*c, 2, 512).status, dnr(Status::kInvalidLogPage));
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << 31).status, Status::kSuccess);
  EXPECT_STATUS(set_feature(*c, NVME_FEAT_FID_NUM_QUEUES, 0).status, dnr(Status::kInvalidField));
  run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  apply();  // another generation
  const auto events = c->take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].result, 0x0070f002u);
  EXPECT_GT(page<nvmf_discovery_log>(log(*c, 0x70, 1024)).genctr, uint64_t(head.genctr));
}

// Its pages, events and limits are what it answers, and other fields of Identify are zero.
TEST_F(ControllerTest, DiscoveryAnnouncesWhatItAnswers) {
  auto c = enabled(nvme::kDiscoveryNqn);
  auto id = page<nvme_id_ctrl>(identify(*c, 1));
  const auto pages = page<nvme_supported_log_pages>(log(*c, 0, 1024));
  for (uint32_t i = 0; i < 256; ++i) {
    EXPECT_EQ(pages.lid_support[i] != 0, log(*c, i, 64).status == Status::kSuccess) << i;
  }
  EXPECT_EQ((id.lpa & 1 << 1) != 0, pages.lid_support[NVME_LOG_LID_CMD_EFFECTS] != 0);
  EXPECT_EQ(id.lpa & ~(1 << 1 | 1 << 2), 0);
  for (uint32_t bit = 8; bit < 32; ++bit) {
    EXPECT_EQ((id.oaes >> bit & 1) != 0,
              set_feature(*c, NVME_FEAT_FID_ASYNC_EVENT, 1u << bit).status == Status::kSuccess)
        << bit;
  }
  for (int i = 0; i <= id.aerl; ++i) run(*c, admin_command(AdminOpcode::kAsyncEventRequest));
  EXPECT_STATUS(run(*c, admin_command(AdminOpcode::kAsyncEventRequest)).status,
                dnr(Status::kAsyncEventLimitExceeded));
  EXPECT_STATUS(run(*c, admin_command(AdminOpcode::kAbort)).status, dnr(Status::kInvalidOpcode));
  const auto clear = [](auto&... fields) { (std::memset(&fields, 0, sizeof fields), ...); };
  clear(id.sn, id.mn, id.fr, id.subnqn, id.cmic, id.mdts, id.cntlid, id.ver, id.oaes, id.ctratt);
  clear(id.cntrltype, id.aerl, id.lpa, id.kas, id.maxcmd, id.sgls);
  const auto bytes = nvme::bytes_of(id);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], std::byte{0}) << "byte " << i;
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
