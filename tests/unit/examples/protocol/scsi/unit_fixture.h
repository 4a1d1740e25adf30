// A logical unit of 1000 blocks with two initiators, for tests.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/logical_unit.h"

namespace mrpool::scsi {

inline Cdb cdb(std::initializer_list<int> bytes) {
  Cdb result{};
  size_t at = 0;
  for (const int byte : bytes) result[at++] = uint8_t(byte);
  return result;
}

class UnitTest : public testing::Test {
 protected:
  UnitTest() : UnitTest(facts()) {}
  explicit UnitTest(const UnitFacts& unit_facts)
      : unit(unit_facts, [this](const std::string& state) {
          saved = state;
          return save_status;
        }) {
    unit.attach(alice);
    unit.attach(bob);
    alice.take_attention();
    bob.take_attention();
  }

  static UnitFacts facts() {
    return {.block_size = 512,
            .blocks = 1000,
            .volatile_cache = true,
            .thin = true,
            .marks = true,
            .max_transfer_blocks = 256,
            .serial = "0123456789abcdef",
            .naa = {0x31, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
            .target_name = "iqn.2026-11.org.example:disk"};
  }

  Plan begin(const Cdb& command) { return unit.begin(alice, command, data); }
  Plan begin(Nexus& nexus, const Cdb& command) { return unit.begin(nexus, command, data); }
  Plan run(Nexus& nexus, const Cdb& command, const std::vector<uint8_t>& parameters) {
    const Plan plan = unit.begin(nexus, command, data);
    if (plan.kind != Plan::Kind::kParameters) return plan;
    EXPECT_EQ(plan.data_out, parameters.size());
    const Plan next = unit.finish(nexus, command, parameters, ranges);
    if (next.kind != Plan::Kind::kReserve) return next;
    LogicalUnit::ReserveAnswer answer = unit.reserve_out(nexus.port(), command, parameters);
    preempted = std::move(answer.preempted);
    return answer.plan;
  }

  static void expect_sense(const Plan& plan, const Sense& sense) {
    EXPECT_EQ(plan.kind, Plan::Kind::kDone);
    EXPECT_EQ(plan.status, Status::kCheckCondition);
    EXPECT_TRUE(plan.sense.same_code(sense)) << std::hex << int(plan.sense.key) << ' '
                                             << int(plan.sense.asc) << ' ' << int(plan.sense.ascq);
  }
  static void expect_good(const Plan& plan) {
    EXPECT_EQ(plan.kind, Plan::Kind::kDone);
    EXPECT_EQ(plan.status, Status::kGood);
  }

  std::string saved;
  absl::Status save_status;
  LogicalUnit unit;
  Nexus alice{"iqn.a,i,0x000000000001"};
  Nexus bob{"iqn.b,i,0x000000000002"};
  std::vector<uint8_t> data;
  std::vector<Range> ranges;
  std::vector<std::string> preempted;  // by the last PERSISTENT RESERVE OUT
};

}  // namespace mrpool::scsi
