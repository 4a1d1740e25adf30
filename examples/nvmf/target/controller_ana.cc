// Asymmetric Namespace Access as a controller shows it: the log page, its event, and admin commands
// that need a namespace.
#include <map>
#include <vector>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::le;
using nvme::Status;

namespace {

void append(std::vector<std::byte>& page, std::span<const std::byte> bytes) {
  page.insert(page.end(), bytes.begin(), bytes.end());
}

}  // namespace

void Controller::access_changed() {
  bool wake = false;
  QueueRef admin;
  {
    const std::lock_guard lock(mutex_);
    if (identity_.discovery || !subsystem_->ana_reporting) return;
    raise_locked(AsyncEvent::kAccessChanged, wake);
    admin = admin_queue_locked();
  }
  if (wake) host_.events_ready(admin);
}

// The groups that have a namespace which the host sees.
Status Controller::access_log(const AdminRequest& request, std::vector<std::byte>& page) {
  constexpr uint32_t kGroupsOnly = 1u << 8;
  const bool groups_only = (request.sqe.cdw10 & kGroupsOnly) != 0;
  const auto table = namespaces();
  const AnaStates states = access(*table);
  std::map<uint32_t, std::vector<uint32_t>> groups;
  for (const Namespace& ns : table->namespaces) {
    if (known_.shows(ns)) groups[ns.ana_group].push_back(le(ns.nsid));
  }
  nvme_ana_log head{};
  head.chgcnt = le(table->ana.changes);
  head.ngrps = le(uint16_t(groups.size()));
  append(page, nvme::bytes_of(head).first(offsetof(nvme_ana_log, descs)));
  for (const auto& [group, nsids] : groups) {
    const auto changes = table->ana.group_changes.find(group);
    nvme_ana_group_desc descriptor{};
    descriptor.grpid = le(group);
    descriptor.nnsids = groups_only ? 0 : le(uint32_t(nsids.size()));
    descriptor.chgcnt = le(changes == table->ana.group_changes.end() ? 0 : changes->second);
    descriptor.state = uint8_t(states[group]);
    append(page, nvme::bytes_of(descriptor).first(offsetof(nvme_ana_group_desc, nsids)));
    if (!groups_only) append(page, std::as_bytes(std::span(nsids)));
  }
  return Status::kSuccess;
}

// Not success: the namespace, or one of all for the broadcast nsid, is not accessible on this path.
// A namespace that does not exist is none of its concern.
Status Controller::access_to(const NamespaceTable& table, uint32_t nsid) const {
  const AnaStates states = access(table);
  for (const Namespace& ns : table.namespaces) {
    if (nsid != ns.nsid && nsid != nvme::kBroadcastNsid) continue;
    const Status status = path_status(states[ns.ana_group]);
    if (!ok(status)) return status;
  }
  return Status::kSuccess;
}

}  // namespace mrpool::nvmf_target
