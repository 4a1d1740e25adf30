#include "examples/protocol/scsi/mode.h"

#include <algorithm>

#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

enum PageControl : uint8_t { kCurrent = 0, kChangeable = 1, kDefault = 2, kSaved = 3 };

constexpr uint8_t kAllPages = 0x3f;

// A mode page: what is in it, and what MODE SELECT may change of it. kPages is the one table of
// them.
struct ModePage {
  uint8_t code;
  size_t size;
  void (*fill)(const ModeState& state, uint8_t* page);    // null: zeroes
  void (*changeable)(uint8_t* page);                      // ones where a bit may change; or null
  void (*select)(const uint8_t* page, ModeState& state);  // takes the changeable bits; or null
};

void fill_error_recovery(const ModeState&, uint8_t* page) {
  page[2] = 0xc0;  // AWRE, ARRE
}

constexpr uint8_t kWriteCacheEnable = 0x04;
void fill_caching(const ModeState& state, uint8_t* page) {
  page[2] = state.write_cache ? kWriteCacheEnable : 0;
}
void changeable_caching(uint8_t* page) { page[2] = kWriteCacheEnable; }
void select_caching(const uint8_t* page, ModeState& state) {
  state.write_cache = (page[2] & kWriteCacheEnable) != 0;
}

constexpr uint8_t kDescriptorSense = 0x04;       // D_SENSE
constexpr uint8_t kSoftwareWriteProtect = 0x08;  // SWP
void fill_control(const ModeState& state, uint8_t* page) {
  page[2] = 0x02 | (state.descriptor_sense ? kDescriptorSense : 0);  // GLTSD
  page[3] = 0x10;                                                    // commands may be reordered
  page[4] = state.write_protect ? kSoftwareWriteProtect : 0;
  page[5] = 0x40;                 // TAS: commands that another initiator ends are answered
  be::store16(&page[8], 0xffff);  // busy timeout: none
}
void changeable_control(uint8_t* page) {
  page[2] = kDescriptorSense;
  page[4] = kSoftwareWriteProtect;
}
void select_control(const uint8_t* page, ModeState& state) {
  state.descriptor_sense = (page[2] & kDescriptorSense) != 0;
  state.write_protect = (page[4] & kSoftwareWriteProtect) != 0;
}

constexpr ModePage kPages[] = {
    {0x01, 12, fill_error_recovery, nullptr, nullptr},
    {0x08, 20, fill_caching, changeable_caching, select_caching},
    {0x0a, 12, fill_control, changeable_control, select_control},
    {0x1c, 12, nullptr, nullptr, nullptr},  // informational exceptions: none
};

const ModePage* find_page(uint8_t code) {
  const auto* found = std::ranges::find(kPages, code, &ModePage::code);
  return found == std::end(kPages) ? nullptr : found;
}

// A page with `state`'s values.
std::vector<uint8_t> page_of(const ModePage& page, const ModeState& state) {
  std::vector<uint8_t> data(page.size);
  if (page.fill != nullptr) page.fill(state, data.data());
  return data;
}

// Ones where MODE SELECT may change a bit.
std::vector<uint8_t> mask_of(const ModePage& page) {
  std::vector<uint8_t> data(page.size);
  if (page.changeable != nullptr) page.changeable(data.data());
  return data;
}

void append_page(const ModePage& page, PageControl control, const ModeState& state,
                 std::vector<uint8_t>& data) {
  std::vector<uint8_t> bytes = control == kChangeable ? mask_of(page) : page_of(page, state);
  bytes[0] = page.code;
  bytes[1] = uint8_t(bytes.size() - 2);
  data.insert(data.end(), bytes.begin(), bytes.end());
}

std::vector<uint8_t> block_descriptor(const UnitFacts& unit, bool long_lba) {
  if (long_lba) {
    std::vector<uint8_t> data(16);
    be::store64(data.data(), unit.blocks);
    be::store32(&data[12], unit.block_size);
    return data;
  }
  std::vector<uint8_t> data(8);
  be::store32(data.data(), uint32_t(std::min<uint64_t>(unit.blocks, 0xffffffff)));
  be::store24(&data[5], unit.block_size);
  return data;
}

}  // namespace

std::optional<Sense> mode_sense(const Cdb& cdb, const UnitFacts& unit, const ModeState& state,
                                const ModeState& default_state, std::vector<uint8_t>& data) {
  const bool ten = cdb[0] == 0x5a;
  const auto control = PageControl(cdb[2] >> 6);
  const uint8_t code = cdb[2] & 0x3f;
  const uint8_t subpage = cdb[3];
  if (control == kSaved) return kSavingNotSupported;
  if (subpage != 0 && subpage != 0xff) return kInvalidFieldInCdb.at_cdb(3);
  if (code != kAllPages && find_page(code) == nullptr) return kInvalidFieldInCdb.at_cdb(2);

  const bool no_descriptor = (cdb[1] & 0x08) != 0;
  const bool long_lba = ten && (cdb[1] & 0x10) != 0;
  const std::vector<uint8_t> descriptor =
      no_descriptor ? std::vector<uint8_t>{} : block_descriptor(unit, long_lba);
  const uint8_t device_specific =
      0x10 | (unit.read_only || state.write_protect ? 0x80 : 0);  // DPOFUA, WP

  const size_t header = ten ? 8 : 4;
  data.assign(header, 0);
  data.insert(data.end(), descriptor.begin(), descriptor.end());
  const ModeState& source = control == kDefault ? default_state : state;
  for (const ModePage& page : kPages) {
    if (code == kAllPages || code == page.code) append_page(page, control, source, data);
  }
  if (ten) {
    be::store16(data.data(), uint16_t(data.size() - 2));
    data[3] = device_specific;
    data[4] = long_lba && !no_descriptor ? 0x01 : 0;
    be::store16(&data[6], uint16_t(descriptor.size()));
  } else {
    data[0] = uint8_t(data.size() - 1);
    data[2] = device_specific;
    data[3] = uint8_t(descriptor.size());
  }
  return std::nullopt;
}

std::optional<Sense> mode_select(const Cdb& cdb, std::span<const uint8_t> parameters,
                                 const UnitFacts& unit, ModeState& state) {
  const bool ten = cdb[0] == 0x55;
  if ((cdb[1] & 0x10) == 0) return kInvalidFieldInCdb.at_cdb(1);  // PF: pages as SPC has them
  if ((cdb[1] & 0x01) != 0) return kInvalidFieldInCdb.at_cdb(1);  // SP: nothing is saved
  if (parameters.empty()) return std::nullopt;
  const size_t header = ten ? 8 : 4;
  if (parameters.size() < header) return kParameterListLength;
  const size_t descriptor_size = ten ? be::load16(&parameters[6]) : parameters[3];
  if (parameters.size() - header < descriptor_size) return kParameterListLength;
  if (descriptor_size != 0) {
    const bool long_lba = ten && (parameters[4] & 0x01) != 0;
    if (descriptor_size != (long_lba ? 16u : 8u)) {
      return kInvalidFieldInParameters.at_parameter(ten ? 6 : 3);
    }
    const uint32_t block_size =
        long_lba ? be::load32(&parameters[header + 12]) : be::load24(&parameters[header + 5]);
    if (block_size != unit.block_size) {
      return kInvalidFieldInParameters.at_parameter(uint16_t(header + 5));
    }
  }

  ModeState changed = state;
  size_t at = header + descriptor_size;
  while (at < parameters.size()) {
    const auto rest = parameters.subspan(at);
    const uint8_t code = rest[0] & 0x3f;
    const ModePage* page = find_page(code);
    if (page == nullptr || (rest[0] & 0x40) != 0) {
      return kInvalidFieldInParameters.at_parameter(uint16_t(at));
    }
    const std::vector<uint8_t> current = page_of(*page, state);
    const std::vector<uint8_t> mask = mask_of(*page);
    if (rest.size() < current.size()) return kParameterListLength;
    if (rest[1] != current.size() - 2) {
      return kInvalidFieldInParameters.at_parameter(uint16_t(at + 1));
    }
    for (size_t i = 2; i < current.size(); ++i) {
      if (((rest[i] ^ current[i]) & ~mask[i]) != 0) {
        return kInvalidFieldInParameters.at_parameter(uint16_t(at + i));
      }
    }
    if (page->select != nullptr) page->select(rest.data(), changed);
    at += current.size();
  }
  if (changed.write_cache && !unit.volatile_cache) {
    // There is no cache to switch on.
    return kInvalidFieldInParameters;
  }
  state = changed;
  return std::nullopt;
}

}  // namespace mrpool::scsi
