// The service as one of a group of gateways: the state of ANA groups, the end of their commands,
// and reservations that the group keeps.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/gateway/records.h"
#include "examples/nvmf/target/service.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

void Service::join(gateway::Group& group) {
  group_ = &group;
  state_thread_ = std::make_unique<base::JobThread>(base::JobThread::AtEnd::kRunJobs);
  ownership_.fill(AnaState::kInaccessible);
  target_.set_ownership(std::make_shared<const AnaStates>(ownership_));
}

void Service::set_ownership(uint32_t ana_group, AnaState state) {
  ownership_.at(ana_group) = state;
  target_.set_ownership(std::make_shared<const AnaStates>(ownership_));
}

std::vector<Namespace> Service::namespaces_of(uint32_t ana_group) const {
  std::vector<Namespace> all;
  for (const auto& subsystem : target_.subsystems()) {
    const auto table = subsystem->namespaces();
    for (const Namespace& ns : table->namespaces) {
      if (ns.ana_group == ana_group) all.push_back(ns);
    }
  }
  return all;
}

// Calls `call(queue, nsid)` for each queue and each namespace of the group, on the workers. A queue
// that gets a command later sees the new state.
template <typename Call>
void Service::with_queues_of(uint32_t ana_group, Call call) {
  for (const auto& subsystem : target_.subsystems()) {
    std::vector<uint32_t> nsids;
    const auto table = subsystem->namespaces();
    for (const Namespace& ns : table->namespaces) {
      if (ns.ana_group == ana_group) nsids.push_back(ns.nsid);
    }
    for (const auto& controller : target_.controllers_of(*subsystem)) {
      for (const QueueRef& ref : controller->io_queues()) {
        with_queue(ref, [nsids, call](Queue* queue) {
          if (queue == nullptr) return;
          for (const uint32_t nsid : nsids) call(*queue, nsid);
        });
      }
    }
  }
}

void Service::take_away(uint32_t ana_group, nvme::Status status) {
  const auto over = std::make_shared<Fence>([] {});
  with_queues_of(ana_group, [status, over](Queue& queue, uint32_t nsid) {
    queue.take_away(nsid, status, over);
  });
}

void Service::drain(uint32_t ana_group, std::function<void()> done) {
  const auto over = std::make_shared<Fence>(std::move(done));
  with_queues_of(ana_group, [over](Queue& queue, uint32_t nsid) { queue.drain(nsid, over); });
}

// Write protection by hosts would be of one gateway only: it is not offered. A namespace that comes
// back while this gateway serves its group still has its reservations.
absl::Status Service::add_shared_state(Namespace& ns) const {
  const std::string group = absl::StrCat(ns.ana_group);
  const std::string key = gateway::reservations_key(storage::format_uuid(ns.uuid));
  ns.reservations = std::make_shared<Reservations>(
      [group_of_gateways = group_, group, key](const std::string& state) {
        return group_of_gateways->save(group, key, state);
      },
      reservation::Registry(), Reservations::Keeps::kAll);
  ns.protection = std::make_shared<WriteProtection>();
  const auto records = group_->read();
  return records.ok() ? take_over(ns, *records) : records.status();
}

absl::Status Service::take_over(const Namespace& ns, const gateway::Records& records) {
  const std::string key = gateway::reservations_key(storage::format_uuid(ns.uuid));
  const absl::Status status = ns.reservations->take_over(gateway::text_of(records, key));
  if (status.ok()) return status;
  return absl::DataLossError(
      absl::StrCat(place_of(ns.nsid), ": ", status.message(), "; remove the entry ", key,
                   " of the gateways' records to go on without them (rados rmomapkey)"));
}

// Two groups with one image would have two owners that write to it.
absl::Status Service::claim_for_group(const Namespace& ns, const gateway::Records& records) {
  const std::string key = absl::StrCat("group-", storage::format_uuid(ns.uuid));
  const std::string group = absl::StrCat(ns.ana_group);
  const std::string other(gateway::text_of(records, key));
  if (other.empty()) return group_->save(group, key, group);
  if (other == group) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      place_of(ns.nsid), ": it is in ANA group ", group, " here, and in ", other,
      " according to the gateways' records; write the same anagrpid at all gateways. If all have ",
      group, ", remove the entry ", key, " (rados rmomapkey)"));
}

absl::Status Service::take_over(uint32_t ana_group) {
  const auto records = group_->read();
  if (!records.ok()) return records.status();
  for (const Namespace& ns : namespaces_of(ana_group)) {
    absl::Status status = claim_for_group(ns, *records);
    if (status.ok()) status = take_over(ns, *records);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mrpool::nvmf_target
