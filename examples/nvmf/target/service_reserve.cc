// Reservations as the whole target carries them out: where their state is kept, who is notified
// of a change, and whose commands have to end first.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/service.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

// The thread ends first: it sends its answers to the workers. Fences that they still hold answer
// no command any more.
Service::~Service() {
  state_thread_.reset();
  over_.store(true);
}

// What is served already keeps its state, wherever it is served next.
absl::Status Service::add_kept_state(Namespace& ns) const {
  if (group_ != nullptr && ns.ana_group > group_->groups()) {
    return absl::FailedPreconditionError(absl::StrCat(
        place_of(ns.nsid), ": ANA group ", ns.ana_group, " is above the ", group_->groups(),
        " of the gateways; set \"groups\" of \"gateway_group\" at all of them and restart them"));
  }
  for (const auto& subsystem : target_.subsystems()) {
    const auto table = subsystem->namespaces();
    const auto at = std::ranges::find(table->namespaces, ns.uuid, &Namespace::uuid);
    if (at == table->namespaces.end()) continue;
    if (group_ != nullptr && at->ana_group != ns.ana_group) {
      return absl::FailedPreconditionError(absl::StrCat(
          subsystem->nqn, " ", place_of(at->nsid), " is in ANA group ", at->ana_group,
          ", and other gateways may serve it there; remove it from all gateways, then add it to ",
          ns.ana_group));
    }
    ns.reservations = at->reservations;
    ns.protection = at->protection;
    return absl::OkStatus();
  }
  if (group_ != nullptr) return add_shared_state(ns);
  ns.reservations = std::make_shared<Reservations>();
  ns.protection = std::make_shared<WriteProtection>();
  const std::string& directory = options_.engine.state_dir;
  if (directory.empty()) return absl::OkStatus();
  const std::string uuid = storage::format_uuid(ns.uuid);
  auto reservations = Reservations::open(absl::StrCat(directory, "/pr-", uuid));
  if (!reservations.ok()) return reservations.status();
  ns.reservations = *std::move(reservations);
  auto protection = WriteProtection::open(absl::StrCat(directory, "/wp-", uuid));
  if (protection.ok()) ns.protection = *std::move(protection);
  return protection.status();
}

absl::Status Service::add_kept_state(std::vector<Target::Served>& all) const {
  for (Target::Served& served : all) {
    for (Namespace& ns : served.namespaces) {
      if (absl::Status status = add_kept_state(ns); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

void Service::where_it_may_block(std::function<void()> job) {
  state_thread_ != nullptr ? state_thread_->run(std::move(job)) : job();
}

void Service::answer_aside(const CommandRef& to, nvme::Status status) {
  if (over_.load()) return;
  with_queue(to.queue, [to, status](Queue* queue) {
    if (queue != nullptr) queue->answered_aside(to.slot, to.serial, status);
  });
}

void Service::run_aside(const CommandRef& from, std::function<nvme::Status()> job) {
  where_it_may_block([this, from, job = std::move(job)] { answer_aside(from, job()); });
}

void Service::change_marks(const CommandRef& from, std::function<storage::Error()> change) {
  where_it_may_block([this, from, change = std::move(change)] {
    const storage::Error error = change();
    if (over_.load()) return;
    with_queue(from.queue, [from, error](Queue* queue) {
      if (queue != nullptr) queue->marks_changed(from.slot, from.serial, error);
    });
  });
}

void Service::protect(const CommandRef& from, std::shared_ptr<Controller> controller, uint32_t nsid,
                      bool on) {
  where_it_may_block([this, from, controller = std::move(controller), nsid, on] {
    const auto table = controller->namespaces();
    const Namespace* const ns = table->find(nsid);
    if (ns == nullptr) return answer_aside(from, nvme::with_dnr(nvme::Status::kInvalidNamespace));
    bool changed = false;
    const nvme::Status status = ns->protection->set(on, changed);
    if (changed) {
      for (const auto& each : target_.controllers_of(controller->subsystem())) {
        if (each->namespaces()->find(nsid) != nullptr) each->namespaces_changed({&nsid, 1});
      }
    }
    answer_aside(from, status);
  });
}

void Service::reserve(ReservationJob job) {
  where_it_may_block([this, job = std::move(job)] { carry_out(job); });
}

void Service::carry_out(const ReservationJob& job) {
  const Reservations::Answer done =
      job.reservations->run(job.request, job.controller->identity().host_id);
  // Answered when those commands have ended: none of a fenced host's lands after that.
  const auto fence = std::make_shared<Fence>(
      [this, from = job.from, status = done.status] { answer_aside(from, status); });
  const Subsystem& subsystem = job.controller->subsystem();
  for (const auto& controller : target_.controllers_of(subsystem)) {
    const std::string who = registrant(controller->identity().host_id);
    for (const reservation::Notice& notice : done.notices) {
      if (notice.who == who) controller->reservation_changed(job.nsid, notice.event);
    }
    if (std::ranges::find(done.fenced, who) == done.fenced.end()) continue;
    for (const QueueRef& queue : controller->io_queues()) {
      with_queue(queue, [nsid = job.nsid, fence](Queue* at) {
        if (at != nullptr) at->take_away(nsid, nvme::Status::kPreempted, fence);
      });
    }
  }
}

}  // namespace mrpool::nvmf_target
