#include "examples/nvmf/host/ana_log.h"

#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::host {
namespace {

constexpr size_t kHeadBytes = sizeof(nvme_ana_log);
constexpr size_t kGroupBytes = sizeof(nvme_ana_group_desc);

}  // namespace

std::optional<AnaState> ana_state_of(std::span<const std::byte> page, uint32_t nsid) {
  if (page.size() < kHeadBytes) return std::nullopt;
  const uint16_t groups = read_struct<Le16>(page.subspan(offsetof(nvme_ana_log, ngrps)));
  std::span<const std::byte> rest = page.subspan(kHeadBytes);
  for (uint32_t i = 0; i < groups && rest.size() >= kGroupBytes; ++i) {
    const uint32_t members = read_struct<Le32>(rest.subspan(offsetof(nvme_ana_group_desc, nnsids)));
    const auto state = uint8_t(rest[offsetof(nvme_ana_group_desc, state)]);
    rest = rest.subspan(kGroupBytes);
    if (members > rest.size() / sizeof(uint32_t)) return std::nullopt;
    for (uint32_t n = 0; n < members; ++n) {
      const uint32_t member = read_struct<Le32>(rest.subspan(n * sizeof(uint32_t)));
      if (member == nsid) return to_ana_state(state);
    }
    rest = rest.subspan(members * sizeof(uint32_t));
  }
  return std::nullopt;
}

}  // namespace mrpool::nvme::host
