// A host that looks at what a target announces and tries it.
#pragma once

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {

class Announcement : public ::testing::Test {
 protected:
  World& served() {
    world_.serve({"ram:4MiB"});
    return world_;
  }
  template <typename T>
  T identify(uint32_t cns, uint32_t nsid = 0) {
    nvme::Sqe sqe = host_.admin.admin(AdminOpcode::kIdentify, cns, 0, sizeof(T));
    sqe.nsid = nsid;
    EXPECT_STATUS(host_.admin.execute(sqe).status(), Status::kSuccess);
    return nvme::read_struct<T>(host_.admin.memory);
  }
  Status log(uint32_t id, uint32_t bytes) {
    return host_.admin
        .execute(host_.admin.admin(AdminOpcode::kGetLogPage, id | (bytes / 4 - 1) << 16, 0, bytes))
        .status();
  }
  nvme_cmd_effects_log effects() {
    EXPECT_STATUS(log(NVME_LOG_LID_CMD_EFFECTS, sizeof(nvme_cmd_effects_log)), Status::kSuccess);
    return nvme::read_struct<nvme_cmd_effects_log>(host_.admin.memory);
  }
  bool known(RawQueue& queue, uint8_t opcode) {
    nvme::Sqe sqe = queue.io(IoOpcode(opcode), 0, 1);
    sqe.cdw12 = uint32_t{0};
    return code(queue.execute(sqe).status()) != Status::kInvalidOpcode;
  }

  World world_;
  Host host_{served()};
};

}  // namespace mrpool::nvmf_target::testing
