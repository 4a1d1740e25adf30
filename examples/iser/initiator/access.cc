#include "examples/iser/initiator/access.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"

namespace mrpool::iser {

bool reports_port_groups(std::span<const std::byte> inquiry) {
  constexpr uint8_t kTpgs = 0x30;
  return inquiry.size() > 5 && (uint8_t(inquiry[5]) & kTpgs) != 0;
}

std::optional<uint16_t> port_group(std::span<const std::byte> designators) {
  constexpr size_t kHeader = 4, kGroup = 4;
  constexpr uint8_t kOfPortGroup = 0x15;  // ASSOCIATION 01b, DESIGNATOR TYPE 5h
  while (designators.size() >= kHeader + kGroup) {
    const size_t size = std::min(kHeader + size_t(designators[3]), designators.size());
    if ((uint8_t(designators[1]) & 0x3f) == kOfPortGroup && size == kHeader + kGroup) {
      return be::load16(&designators[kHeader + 2]);
    }
    designators = designators.subspan(size);
  }
  return std::nullopt;
}

scsi::Cdb report_port_groups_cdb(uint32_t room) {
  scsi::Cdb cdb{0xa3, 0x0a};
  be::store32(&cdb[6], room);
  return cdb;
}

std::optional<GroupState> group_state(std::span<const std::byte> data, uint16_t group) {
  constexpr size_t kHeader = 4, kDescriptor = 8, kPort = 4;
  if (data.size() < kHeader) return std::nullopt;
  const uint32_t length = be::load32(&data[0]);
  data = data.subspan(kHeader);
  data = data.first(std::min<size_t>(data.size(), length));
  while (data.size() >= kDescriptor) {
    const uint8_t state = uint8_t(data[0]);
    if (be::load16(&data[2]) == group) {
      return GroupState{.group = group,
                        .state = scsi::access_state_of(state & 0x0f),
                        .preferred = (state & 0x80) != 0};
    }
    const size_t size = kDescriptor + kPort * uint8_t(data[7]);
    data = data.subspan(std::min(size, data.size()));
  }
  return std::nullopt;
}

std::string to_string(const GroupState& state) {
  return absl::StrCat(state.state ? std::string(scsi::to_string(*state.state)) : "unknown",
                      ", port group ", state.group, state.preferred ? ", preferred" : "");
}

}  // namespace mrpool::iser
