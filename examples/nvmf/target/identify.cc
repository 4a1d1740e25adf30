// Identify pages and log pages of a controller, [base] 5.14, 5.17 and [nvm] 4.
#include <algorithm>
#include <cstring>

#include "examples/nvmf/target/controller.h"

namespace mrpool::nvmf_target {

using nvme::le;
using nvme::Status;
using nvme::with_dnr;

namespace {

constexpr size_t kPage = 4096;

AdminReply refuse(Status status) {
  AdminReply reply;
  reply.status = with_dnr(status);
  return reply;
}

template <typename T>
std::vector<std::byte> to_bytes(const T& value) {
  const auto bytes = nvme::bytes_of(value);
  return {bytes.begin(), bytes.end()};
}

AdminReply with_data(std::vector<std::byte> data) {
  AdminReply reply;
  reply.data = std::move(data);
  return reply;
}

template <typename T>
AdminReply page_of(const T& value) {
  return with_data(to_bytes(value));
}

// A 128 bit counter.
void put128(uint8_t (&field)[16], uint64_t value) {
  std::memset(field, 0, sizeof field);
  value = le(value);
  std::memcpy(field, &value, sizeof value);
}

uint8_t block_shift(const storage::Geometry& geometry) {
  return geometry.block_size == 512 ? 9 : 12;
}

AdminReply identify_namespace(const Namespace* ns) {
  nvme_id_ns id{};
  if (ns == nullptr) return page_of(id);  // an inactive namespace is all zeroes
  const storage::Geometry& geometry = ns->volume->geometry();
  id.nsze = id.ncap = id.nuse = le(geometry.blocks);
  id.nmic = NVME_NS_NMIC_SHARED;
  id.nsattr = geometry.read_only ? NVME_NS_NSATTR_WRITE_PROTECTED : 0;
  // Deallocated blocks read as zeroes; Write Zeroes knows the deallocate bit.
  id.dlfeat = 1 | 1 << 3;
  put128(id.nvmcap, geometry.bytes());
  std::copy(ns->uuid.begin(), ns->uuid.end(), id.nguid);
  id.lbaf[0].ds = block_shift(geometry);
  return page_of(id);
}

AdminReply identify_descriptors(const Namespace& ns) {
  std::vector<std::byte> page;
  const auto put = [&page](uint8_t type, std::span<const uint8_t> value) {
    nvme_ns_id_desc head{};
    head.nidt = type;
    head.nidl = uint8_t(value.size());
    const auto bytes = nvme::bytes_of(head);
    page.insert(page.end(), bytes.begin(), bytes.begin() + offsetof(nvme_ns_id_desc, nid));
    const auto id = std::as_bytes(value);
    page.insert(page.end(), id.begin(), id.end());
  };
  put(NVME_NIDT_NGUID, ns.uuid);
  put(NVME_NIDT_UUID, ns.uuid);
  const uint8_t nvm_command_set = NVME_CSI_NVM;
  put(NVME_NIDT_CSI, {&nvm_command_set, 1});
  page.resize(kPage);
  return with_data(std::move(page));
}

AdminReply identify_active(const NamespaceTable& table, uint32_t above) {
  nvme_ns_list list{};
  size_t n = 0;
  for (const Namespace& ns : table.namespaces) {
    if (ns.nsid > above && n < std::size(list.ns)) list.ns[n++] = le(ns.nsid);
  }
  return page_of(list);
}

bool valid_nsid(uint32_t nsid) { return nsid >= 1 && nsid <= kMaxNamespaces; }

}  // namespace

AdminReply Controller::identify(const nvme::Sqe& sqe) {
  const uint32_t cns = sqe.cdw10 & 0xff;
  const uint32_t command_set = sqe.cdw11 >> 24;
  if (cns == NVME_IDENTIFY_CNS_CTRL) return with_data(identify_controller());
  if (identity_.discovery) return refuse(Status::kInvalidField);
  const auto table = subsystem_->namespaces();
  switch (cns) {
    case NVME_IDENTIFY_CNS_NS:
      if (!valid_nsid(sqe.nsid)) return refuse(Status::kInvalidNamespace);
      return identify_namespace(table->find(sqe.nsid));
    case NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST:
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      [[fallthrough]];
    case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST:
      if (sqe.nsid >= 0xfffffffe) return refuse(Status::kInvalidNamespace);
      return identify_active(*table, sqe.nsid);
    case NVME_IDENTIFY_CNS_NS_DESC_LIST: {
      const Namespace* ns = table->find(sqe.nsid);
      return ns == nullptr ? refuse(Status::kInvalidNamespace) : identify_descriptors(*ns);
    }
    case NVME_IDENTIFY_CNS_CSI_NS:
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      if (!valid_nsid(sqe.nsid)) return refuse(Status::kInvalidNamespace);
      return page_of(nvme_nvm_id_ns{});  // no protection information: all zeroes
    case NVME_IDENTIFY_CNS_CSI_CTRL: {
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      nvme_id_ctrl_nvm id{};
      id.dmrl = 255;  // ranges of one Dataset Management; 0 would say there is no limit
      return page_of(id);
    }
    default:
      return refuse(Status::kInvalidField);
  }
}

std::vector<std::byte> Controller::identify_controller() const {
  const auto table = subsystem_->namespaces();
  nvme_id_ctrl id{};
  nvme::set_blank_padded(id.sn, subsystem_->serial);
  nvme::set_blank_padded(id.mn, subsystem_->model);
  nvme::set_blank_padded(id.fr, "1");
  id.cmic = NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL;
  id.mdts = kMdts;
  id.cntlid = le(identity_.id);
  id.ver = le(uint32_t{1} << 16 | 4u << 8);
  id.oaes = le(supported_events());
  id.ctratt = le(uint32_t{NVME_CTRL_CTRATT_128_ID} |
                 (subsystem_->traffic_keep_alive ? uint32_t{NVME_CTRL_CTRATT_TBKAS} : 0u));
  id.cntrltype = identity_.discovery ? NVME_CTRL_CNTRLTYPE_DISCOVERY : NVME_CTRL_CNTRLTYPE_IO;
  id.acl = kMaxAborts - 1;
  id.aerl = kMaxAsyncEvents - 1;
  id.frmw = 1 << 1 | 1;  // one slot, read only
  // Effects log, extended Get Log Page. Not bit 5, which promises more than the list of log pages.
  id.lpa = 1 << 1 | 1 << 2;
  id.elpe = kErrorLogEntries - 1;
  id.kas = le(kKeepAliveGranularity);
  id.maxcmd = le(uint16_t(kMaxQueueEntries));
  // SGLs without alignment; keyed; an offset in the capsule.
  id.sgls = le(1u | 1u << 2 | 1u << 20);
  nvme::set_field(id.subnqn, subsystem_->nqn);
  if (identity_.discovery) return to_bytes(id);
  id.wctemp = le(kWarningKelvin);
  id.cctemp = le(uint16_t{273 + 80});
  id.sqes = 6 | 6 << 4;
  id.cqes = 4 | 4 << 4;
  id.nn = le(kMaxNamespaces);
  id.mnan = le(kMaxNamespaces);
  id.oncs = le(uint16_t(NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES |
                        NVME_CTRL_ONCS_SAVE_FEATURES));
  // Flush with the broadcast namespace is understood.
  id.vwc = (table->volatile_cache() ? 1 : 0) | 3 << 1;
  id.ioccsz = le(uint32_t((sizeof(nvme::Sqe) + identity_.in_capsule) / 16));
  id.iorcsz = le(uint32_t(sizeof(nvme::Cqe) / 16));
  id.msdbd = kMaxSglDescriptors;
  id.ofcs = le(uint16_t{1});  // Disconnect
  id.psd[0].mp = le(uint16_t{2500});
  return to_bytes(id);
}

AdminReply Controller::get_log_page(const nvme::Sqe& sqe, uint64_t data_length, Nanoseconds now,
                                    std::vector<std::byte> discovery) {
  const LogRange range = log_range(sqe);
  const uint32_t log = sqe.cdw10 & 0xff;
  const bool retain = (sqe.cdw10 & 1u << 15) != 0;
  if (range.length > kMaxTransfer || range.offset % 4 != 0) return refuse(Status::kInvalidField);
  if (range.length != data_length) return refuse(Status::kSglDataLength);
  std::vector<std::byte> page;
  switch (log) {
    case NVME_LOG_LID_SUPPORTED_LOG_PAGES: {
      nvme_supported_log_pages pages{};
      const auto add = [&pages](uint32_t id) { pages.lid_support[id] = le(uint32_t{1}); };
      add(NVME_LOG_LID_SUPPORTED_LOG_PAGES);
      if (identity_.discovery) {
        add(NVME_LOG_LID_DISCOVER);
      } else {
        for (const uint32_t id : {NVME_LOG_LID_ERROR, NVME_LOG_LID_SMART, NVME_LOG_LID_FW_SLOT,
                                  NVME_LOG_LID_CHANGED_NS, NVME_LOG_LID_CMD_EFFECTS}) {
          add(id);
        }
      }
      page = to_bytes(pages);
      break;
    }
    case NVME_LOG_LID_ERROR: {
      std::vector<nvme_error_log_page> newest_first;
      for (uint64_t i = 0; i < error_log_.size(); ++i) {
        newest_first.push_back(error_log_[(errors_ - 1 - i) % kErrorLogEntries]);
      }
      newest_first.resize(kErrorLogEntries);
      const auto bytes = std::as_bytes(std::span(newest_first));
      page.assign(bytes.begin(), bytes.end());
      break;
    }
    case NVME_LOG_LID_DISCOVER:
      if (!identity_.discovery) return refuse(Status::kInvalidLogPage);
      page = std::move(discovery);
      break;
    default:
      if (identity_.discovery) return refuse(Status::kInvalidLogPage);
      break;
  }
  switch (log) {
    case NVME_LOG_LID_SMART:
      // One log for the whole subsystem, [base] 5.14.1.2.
      if (sqe.nsid != 0 && sqe.nsid != nvme::kBroadcastNsid) return refuse(Status::kInvalidField);
      page = smart_log(now);
      break;
    case NVME_LOG_LID_FW_SLOT: {
      nvme_firmware_slot slots{};
      slots.afi = 1;
      nvme::set_blank_padded(slots.frs[0], "1");
      page = to_bytes(slots);
      break;
    }
    case NVME_LOG_LID_CHANGED_NS: {
      nvme_ns_list list{};
      if (changed_overflow_) {
        list.ns[0] = le(nvme::kBroadcastNsid);
      } else {
        std::sort(changed_.begin(), changed_.end());
        std::transform(changed_.begin(), changed_.end(), list.ns,
                       [](uint32_t nsid) { return le(nsid); });
      }
      page = to_bytes(list);
      break;
    }
    case NVME_LOG_LID_CMD_EFFECTS: {
      constexpr uint32_t kSupported = 1;
      constexpr uint32_t kChangesContent = 1u << 1;
      nvme_cmd_effects_log effects{};
      for (const auto opcode :
           {nvme::AdminOpcode::kGetLogPage, nvme::AdminOpcode::kIdentify, nvme::AdminOpcode::kAbort,
            nvme::AdminOpcode::kSetFeatures, nvme::AdminOpcode::kGetFeatures,
            nvme::AdminOpcode::kAsyncEventRequest, nvme::AdminOpcode::kKeepAlive}) {
        effects.acs[size_t(opcode)] = le(kSupported);
      }
      effects.acs[nvme::kFabricsOpcode] = le(kSupported);
      for (const auto opcode :
           {nvme::IoOpcode::kFlush, nvme::IoOpcode::kRead, nvme::IoOpcode::kCompare}) {
        effects.iocs[size_t(opcode)] = le(kSupported);
      }
      for (const auto opcode : {nvme::IoOpcode::kWrite, nvme::IoOpcode::kWriteZeroes,
                                nvme::IoOpcode::kDatasetManagement}) {
        effects.iocs[size_t(opcode)] = le(kSupported | kChangesContent);
      }
      effects.iocs[nvme::kFabricsOpcode] = le(kSupported);
      page = to_bytes(effects);
      break;
    }
    default:
      if (page.empty()) return refuse(Status::kInvalidLogPage);
  }
  if (range.offset > page.size()) return refuse(Status::kInvalidField);
  // Only who gets the log has read it: the list of changes is cleared, and without "retain" the
  // event may come again.
  if (log == NVME_LOG_LID_CHANGED_NS) {
    changed_.clear();
    changed_overflow_ = false;
    if (!retain) events_masked_ &= ~kEventNamespace;
  }
  if (log == NVME_LOG_LID_DISCOVER && !retain) events_masked_ &= ~kEventDiscovery;
  page.erase(page.begin(), page.begin() + ptrdiff_t(range.offset));
  page.resize(range.length);  // beyond the end of a log there are zeroes
  return with_data(std::move(page));
}

std::vector<std::byte> Controller::smart_log(Nanoseconds now) const {
  const IoTotals totals = subsystem_->totals();
  // Data units are thousands of 512 bytes, rounded up.
  const auto units = [](uint64_t bytes) { return (bytes + 511'999) / 512'000; };
  nvme_smart_log log{};
  log.avail_spare = 100;
  log.spare_thresh = 10;
  const uint16_t kelvin = le(uint16_t{273 + 40});  // there is no sensor; a comfortable value
  std::memcpy(log.temperature, &kelvin, sizeof kelvin);
  put128(log.data_units_read, units(totals.bytes_read));
  put128(log.data_units_written, units(totals.bytes_written));
  put128(log.host_reads, totals.reads);
  put128(log.host_writes, totals.writes);
  const auto ns = std::chrono::nanoseconds(totals.busy_ns);
  put128(log.ctrl_busy_time,
         uint64_t(std::chrono::duration_cast<std::chrono::minutes>(ns).count()));
  put128(log.power_cycles, 1);
  put128(
      log.power_on_hours,
      uint64_t(std::chrono::duration_cast<std::chrono::hours>(now - subsystem_->power_on).count()));
  put128(log.media_errors, totals.media_errors);
  put128(log.num_err_log_entries, errors_);
  return to_bytes(log);
}

}  // namespace mrpool::nvmf_target
