// Identify pages of a controller, [base] 5.17 and [nvm] 4.
#include <algorithm>
#include <bit>
#include <cstring>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::le;
using nvme::Status;
using nvme::with_dnr;

namespace {

constexpr size_t kPage = 4096;
// LPA: lengths of 32 bits and offsets in Get Log Page.
constexpr uint8_t kExtendedLogData = 1 << 2;

uint8_t block_shift(const storage::Geometry& geometry) {
  return uint8_t(std::countr_zero(geometry.block_size));
}

AdminReply identify_namespace(const Namespace* ns, bool ana, const AnaStates& access) {
  nvme_id_ns id{};
  if (ns == nullptr) return page_of(id);  // an inactive namespace is all zeroes
  storage::Geometry geometry = ns->volume->geometry();
  geometry.blocks = ns->blocks;  // a later size is reported by an event
  id.nsze = id.ncap = id.nuse = le(geometry.blocks);
  id.nmic = NVME_NS_NMIC_SHARED;
  if (ana) id.anagrpid = le(ns->ana_group);
  if (!ok(path_status(access[ns->ana_group]))) id.nuse = 0;
  id.rescap = NVME_NS_RESCAP_WE | NVME_NS_RESCAP_EA | NVME_NS_RESCAP_WERO | NVME_NS_RESCAP_EARO |
              NVME_NS_RESCAP_WEAR | NVME_NS_RESCAP_EAAR | NVME_NS_RESCAP_IEK_13 |
              (ns->reservations->can_persist() ? NVME_NS_RESCAP_PTPL : 0);
  id.nsattr = ns->write_protected() ? NVME_NS_NSATTR_WRITE_PROTECTED : 0;
  // Deallocated blocks read as zeroes; Write Zeroes supports the deallocate bit.
  id.dlfeat = 1 | 1 << 3;
  id.mssrl = le(most_copied_at_once(geometry.block_size));
  id.mcl = le(most_copied(geometry.block_size));
  id.msrc = kMaxCopyRanges - 1;
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

bool valid_nsid(uint32_t nsid) { return nsid >= 1 && nsid <= kMaxNamespaces; }

}  // namespace

// The list has room for every namespace of a subsystem.
AdminReply Controller::identify_active(const NamespaceTable& table, uint32_t above) {
  nvme_ns_list list{};
  static_assert(std::size(decltype(list.ns){}) >= kMaxNamespaces);
  size_t n = 0;
  for (const Namespace& ns : table.namespaces) {
    if (ns.nsid > above && known_.shows(ns)) list.ns[n++] = le(ns.nsid);
  }
  const std::vector<uint32_t> again = known_.listed(table, above);
  if (!again.empty()) events_came_ |= note_changed_locked(again);
  return page_of(list);
}

AdminReply Controller::identify(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  const uint32_t cns = sqe.cdw10 & 0xff;
  const uint32_t command_set = sqe.cdw11 >> 24;
  if (cns == NVME_IDENTIFY_CNS_CTRL) return with_data(identify_controller());
  if (identity_.discovery) return refuse(Status::kInvalidField);
  const auto table = namespaces();
  switch (cns) {
    case NVME_IDENTIFY_CNS_NS: {
      if (!valid_nsid(sqe.nsid)) return refuse(Status::kInvalidNamespace);
      const Namespace* ns = table->find(sqe.nsid);
      if (ns != nullptr && known_.identified(*ns)) {
        events_came_ |= note_changed_locked({&ns->nsid, 1});
        ns = nullptr;
      }
      return identify_namespace(ns, subsystem_->ana_reporting, access(*table));
    }
    case NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST:
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      [[fallthrough]];
    case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST:
      if (sqe.nsid >= 0xfffffffe) return refuse(Status::kInvalidNamespace);
      return identify_active(*table, sqe.nsid);
    case NVME_IDENTIFY_CNS_NS_DESC_LIST: {
      const Namespace* ns = table->find(sqe.nsid);
      if (ns == nullptr || !known_.shows(*ns)) return refuse(Status::kInvalidNamespace);
      return identify_descriptors(*ns);
    }
    case NVME_IDENTIFY_CNS_CSI_NS:
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      if (!valid_nsid(sqe.nsid)) return refuse(Status::kInvalidNamespace);
      return page_of(nvme_nvm_id_ns{});  // no protection information: all zeroes
    case NVME_IDENTIFY_CNS_CSI_CTRL: {
      if (command_set != NVME_CSI_NVM) return refuse(Status::kInvalidField);
      nvme_id_ctrl_nvm id{};
      id.vsl = kMdts;  // of Verify; WUSL 0: Write Uncorrectable of any length
      id.dmrl = 255;   // ranges of one Dataset Management; 0 would mean no limit
      return page_of(id);
    }
    default:
      return refuse(Status::kInvalidField);
  }
}

std::vector<std::byte> Controller::identify_controller() const {
  const auto table = namespaces();
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
  id.aerl = kMaxAsyncEvents - 1;
  id.lpa = kExtendedLogData;
  id.kas = le(kKeepAliveGranularity);
  id.maxcmd = le(uint16_t(kMaxQueueEntries));
  // SGLs without alignment; keyed; an offset in the capsule.
  id.sgls = le(1u | 1u << 2 | 1u << 20);
  nvme::set_field(id.subnqn, subsystem_->nqn);
  if (identity_.discovery) return to_bytes(id);
  id.acl = kMaxAborts - 1;
  id.frmw = 1 << 1 | 1;  // one slot, read only
  id.lpa |= log_page_attributes();
  id.elpe = kErrorLogEntries - 1;
  id.wctemp = le(kWarningKelvin);
  id.cctemp = le(uint16_t{273 + 80});
  id.sqes = 6 | 6 << 4;
  id.cqes = 4 | 4 << 4;
  id.nn = le(kMaxNamespaces);
  id.mnan = le(kMaxNamespaces);
  const uint16_t marks = table->offers_marks() ? NVME_CTRL_ONCS_WRITE_UNCORRECTABLE : 0;
  id.oncs = le(uint16_t(marks | NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM |
                        NVME_CTRL_ONCS_WRITE_ZEROES | NVME_CTRL_ONCS_SAVE_FEATURES |
                        NVME_CTRL_ONCS_RESERVATIONS | NVME_CTRL_ONCS_VERIFY | NVME_CTRL_ONCS_COPY));
  id.ocfs = le(uint16_t{1});  // format 0
  // Compare and Write, atomic to readers within a block: ACWU stays 0.
  id.fuses = 1;
  // Format NVM of one namespace or of all; cryptographic erase is not supported: FNA stays 0.
  id.oacs = le(uint16_t{NVME_CTRL_OACS_FORMAT});
  // Flush with the broadcast nsid is supported.
  // All namespaces are kept, or none.
  const bool protects = std::ranges::any_of(
      table->namespaces, [](const Namespace& each) { return each.protection->offered(); });
  id.nwpc = protects ? NVME_CTRL_NWPC_WRITE_PROTECT : 0;
  id.vwc = (table->volatile_cache() ? 1 : 0) | 3 << 1;
  id.ioccsz = le(uint32_t((sizeof(nvme::Sqe) + identity_.in_capsule) / 16));
  id.iorcsz = le(uint32_t(sizeof(nvme::Cqe) / 16));
  id.msdbd = kMaxSglDescriptors;
  id.ofcs = le(uint16_t{1});  // Disconnect
  id.psd[0].mp = le(uint16_t{2500});
  if (!subsystem_->ana_reporting) return to_bytes(id);
  id.cmic |= NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
  id.anatt = kAnaTransitionTime;
  // A namespace may move to another group, so not NVME_CTRL_ANACAP_GRPID_NO_CHG.
  id.anacap = NVME_CTRL_ANACAP_OPT | NVME_CTRL_ANACAP_NON_OPT | NVME_CTRL_ANACAP_INACCESSIBLE |
              NVME_CTRL_ANACAP_PERSISTENT_LOSS | NVME_CTRL_ANACAP_CHANGE;
  id.anagrpmax = le(kMaxAnaGroups);
  id.nanagrpid = le(kMaxAnaGroups);
  return to_bytes(id);
}

}  // namespace mrpool::nvmf_target
