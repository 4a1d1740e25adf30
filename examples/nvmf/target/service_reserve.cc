// Reservations as the whole target carries them out: where their state is kept, who hears of a
// change, and whose commands have to end first.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/service.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

// The thread ends first: it sends its answers to the workers. What they still hold of Fences tells
// nobody any more.
Service::~Service() {
  state_thread_.reset();
  over_.store(true);
}

absl::StatusOr<std::shared_ptr<Reservations>> Service::reservations_of(const Uuid& uuid) const {
  for (const auto& subsystem : target_.subsystems()) {
    const auto table = subsystem->namespaces();
    const auto at = std::ranges::find(table->namespaces, uuid, &Namespace::uuid);
    if (at != table->namespaces.end()) return at->reservations;
  }
  if (options_.engine.state_dir.empty()) return std::make_shared<Reservations>();
  return Reservations::open(
      absl::StrCat(options_.engine.state_dir, "/pr-", storage::format_uuid(uuid)));
}

absl::Status Service::add_reservations(std::vector<Target::Served>& all) const {
  for (Target::Served& served : all) {
    for (Namespace& ns : served.namespaces) {
      auto reservations = reservations_of(ns.uuid);
      if (!reservations.ok()) return reservations.status();
      ns.reservations = *std::move(reservations);
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
        if (at != nullptr) at->fence(nsid, fence);
      });
    }
  }
}

}  // namespace mrpool::nvmf_target
