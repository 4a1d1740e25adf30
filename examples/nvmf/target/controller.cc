#include "examples/nvmf/target/controller.h"

#include <algorithm>

#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::Property;
using nvme::Status;
using nvme::with_dnr;

namespace {

// Results of the events in dword 0: type | information << 8 | log page << 16.
constexpr uint32_t kNotice = 2;
constexpr uint32_t kNamespaceResult = kNotice | 0x00 << 8 | uint32_t(NVME_LOG_LID_CHANGED_NS) << 16;
// I/O command set specific, Reservation Log Page Available.
constexpr uint32_t kReservationResult = 6 | 0x00 << 8 | uint32_t(NVME_LOG_LID_RESERVATION) << 16;
constexpr uint32_t kAccessResult = kNotice | 0x03 << 8 | uint32_t(NVME_LOG_LID_ANA) << 16;
constexpr uint32_t kDiscoveryResult = kNotice | 0xf0 << 8 | uint32_t(NVME_LOG_LID_DISCOVER) << 16;

struct EventFacts {
  AsyncEvent event;
  uint32_t bit;
  uint32_t result;
  bool always;  // hosts need not enable it
};
constexpr EventFacts kEvents[] = {
    {AsyncEvent::kNamespaceChanged, kEventNamespace, kNamespaceResult, false},
    {AsyncEvent::kDiscoveryChanged, kEventDiscovery, kDiscoveryResult, false},
    {AsyncEvent::kReservation, kEventReservation, kReservationResult, true},
    {AsyncEvent::kAccessChanged, kEventAccess, kAccessResult, false},
};

// CAP: MQES, CQR (queues are contiguous), TO 7.5 s, command set NVM, pages of 4 KiB.
constexpr uint64_t kCap =
    uint64_t(kMaxQueueEntries - 1) | uint64_t{1} << 16 | uint64_t{15} << 24 | uint64_t{1} << 37;
constexpr uint32_t kVersion = 1u << 16 | 4u << 8;  // 1.4.0

}  // namespace

Controller::Controller(Identity identity, std::shared_ptr<Subsystem> subsystem,
                       ControllerHost& host, const DiscoverySource& discovery, KnownStores known,
                       Nanoseconds now)
    : identity_(std::move(identity)),
      subsystem_(std::move(subsystem)),
      host_(host),
      discovery_(discovery),
      began_(now),
      keep_alive_ms_(identity_.keep_alive_ms),
      last_sign_(now),
      known_(std::move(known)),
      proven_(!identity_.must_prove) {
  if (identity_.discovery && keep_alive_ms_ == 0) keep_alive_ms_ = kDiscoveryKeepAliveMs;
}

bool Controller::means(const Namespace& ns) const {
  const std::lock_guard lock(mutex_);
  return known_.means(ns);
}

std::optional<KnownStores> Controller::left_behind() const {
  const std::lock_guard lock(mutex_);
  if ((csts_ & (nvme::kCstsShutdownOccurring | nvme::kCstsShutdownComplete)) != 0)
    return std::nullopt;
  return known_;
}

void Controller::attach_admin(QueueRef queue, std::string peer) {
  const std::lock_guard lock(mutex_);
  queues_.emplace(0, Member{queue, identity_.local_address, std::move(peer)});
}

Controller::Join Controller::join(uint16_t queue_id, QueueRef queue, std::string local,
                                  std::string peer) {
  const std::lock_guard lock(mutex_);
  const bool draining = std::any_of(queues_.begin(), queues_.end(),
                                    [](const auto& entry) { return entry.second.closed; });
  if (resetting_ || draining) return Join::kWait;
  if (!enabled_locked()) return Join::kRefused;
  Member member{queue, std::move(local), std::move(peer)};
  return queues_.emplace(queue_id, std::move(member)).second ? Join::kJoined : Join::kRefused;
}

void Controller::close(uint16_t queue_id) {
  const std::lock_guard lock(mutex_);
  if (const auto at = queues_.find(queue_id); at != queues_.end()) at->second.closed = true;
}

void Controller::detach(uint16_t queue_id) {
  const std::lock_guard lock(mutex_);
  queues_.erase(queue_id);
  settle_locked();
}

bool Controller::draining() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(queues_.begin(), queues_.end(),
                     [](const auto& entry) { return entry.second.closed; });
}

std::vector<Controller::QueueState> Controller::queues() const {
  const std::lock_guard lock(mutex_);
  std::vector<QueueState> all;
  for (const auto& [number, member] : queues_) {
    all.push_back({number, member.queue.worker, member.local, member.peer});
  }
  return all;
}

std::vector<QueueRef> Controller::io_queues() const {
  const std::lock_guard lock(mutex_);
  std::vector<QueueRef> all;
  for (const auto& [number, member] : queues_) {
    if (number != 0) all.push_back(member.queue);
  }
  return all;
}

bool Controller::has_queues() const {
  const std::lock_guard lock(mutex_);
  return !queues_.empty();
}

bool Controller::has_io_queues_locked() const { return queues_.upper_bound(0) != queues_.end(); }

// Completes a reset or a shutdown that waited for the I/O queues.
void Controller::settle_locked() {
  if (has_io_queues_locked()) return;
  if (std::exchange(resetting_, false)) csts_ &= ~nvme::kCstsReady;
  if (std::exchange(stopping_, false)) {
    csts_ = (csts_ & ~nvme::kCstsShutdownOccurring) | nvme::kCstsShutdownComplete;
  }
}

void Controller::terminate() {
  std::vector<QueueRef> drop;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, member] : queues_) {
      if (!member.closed) drop.push_back(member.queue);
    }
  }
  for (const QueueRef& queue : drop) host_.drop_queue(queue);
}

bool Controller::enabled() const {
  const std::lock_guard lock(mutex_);
  return enabled_locked();
}

bool Controller::enabled_locked() const {
  constexpr uint32_t kStopped =
      nvme::kCstsFatal | nvme::kCstsShutdownOccurring | nvme::kCstsShutdownComplete;
  return (cc_ & nvme::kCcEnable) != 0 && (csts_ & nvme::kCstsReady) != 0 && !resetting_ &&
         (csts_ & kStopped) == 0;
}

QueueRef Controller::admin_queue_locked() const {
  const auto at = queues_.find(0);
  return at == queues_.end() ? QueueRef{} : at->second.queue;
}

AdminReply Controller::property_get(const nvme::PropertyCommand& command) const {
  const bool wide = (command.attributes & 7) == nvme::kPropertySize8;
  const std::lock_guard lock(mutex_);
  if (wide) {
    if (Property(uint32_t(command.offset)) == Property::kCap) return answer(kCap);
    return refuse(Status::kInvalidField);
  }
  if ((command.attributes & 7) != 0) return refuse(Status::kInvalidField);
  switch (Property(uint32_t(command.offset))) {
    case Property::kVs:
      return answer(kVersion);
    case Property::kCc:
      return answer(cc_);
    case Property::kCsts:
      return answer(csts_);
    case Property::kCap:
    case Property::kNssr:
      break;
  }
  return refuse(Status::kInvalidField);
}

AdminReply Controller::property_set(const nvme::PropertyCommand& command, Nanoseconds now) {
  if ((command.attributes & 7) != 0 || Property(uint32_t(command.offset)) != Property::kCc) {
    return refuse(Status::kInvalidField);
  }
  std::vector<QueueRef> drop;
  {
    const std::lock_guard lock(mutex_);
    write_cc(uint32_t(uint64_t(command.value)), now, drop);
  }
  for (const QueueRef& queue : drop) host_.drop_queue(queue);
  return answer(0);
}

// [base] 3.1.5: enable, disable (a controller level reset) and shutdown.
void Controller::write_cc(uint32_t cc, Nanoseconds now, std::vector<QueueRef>& drop) {
  // A running reset is not interrupted: the host must see CSTS.RDY at 0 first.
  if (resetting_) cc &= ~nvme::kCcEnable;
  const uint32_t before = cc_;
  cc_ = cc;
  const bool enable = (cc & nvme::kCcEnable) != 0;
  if (enable && (before & nvme::kCcEnable) == 0) {
    const uint32_t io_sqe = (cc >> 16) & 0xf;
    const uint32_t io_cqe = (cc >> 20) & 0xf;
    const uint32_t page_size = (cc >> 7) & 0xf;
    const uint32_t command_set = (cc >> 4) & 7;
    const uint32_t arbitration = (cc >> 11) & 7;
    // A discovery controller has no I/O queues, so their entry sizes are not checked.
    const bool sizes = identity_.discovery || (io_sqe == 6 && io_cqe == 4);
    csts_ = sizes && page_size == 0 && command_set == 0 && arbitration == 0 ? nvme::kCstsReady
                                                                            : nvme::kCstsFatal;
    last_sign_ = now;
  }
  if (!enable && (before & nvme::kCcEnable) != 0) {
    const uint32_t ready = csts_ & nvme::kCstsReady;
    reset_locked();
    csts_ = ready;  // until settle_locked()
    resetting_ = true;
  }
  if ((cc & nvme::kCcShutdownMask) != 0 && (before & nvme::kCcShutdownMask) == 0) {
    csts_ |= nvme::kCstsShutdownOccurring;
    stopping_ = true;
  } else if ((cc & nvme::kCcShutdownMask) == 0) {
    csts_ &= ~(nvme::kCstsShutdownOccurring | nvme::kCstsShutdownComplete);
    stopping_ = false;
  }
  if (!resetting_ && !stopping_) return;
  for (const auto& [id, member] : queues_) {
    if (id != 0) drop.push_back(member.queue);
  }
  settle_locked();
}

void Controller::reset_locked() {
  csts_ = 0;
  events_enabled_ = events_pending_ = events_masked_ = 0;
  // The commands end and release their queue entries before the host sees the end of the reset.
  for (AsyncCompletion& event : completions_)
    event = {event.command_id, 0, Status::kAbortRequested};
  for (const uint16_t id : parked_) completions_.push_back({id, 0, Status::kAbortRequested});
  parked_.clear();
  changed_.clear();
  changed_overflow_ = false;
  reservation_notices_ = {};
  arbitration_ = power_state_ = error_recovery_ = write_atomicity_ = 0;
  thresholds_ = kThresholds;
  write_cache_.store(true, std::memory_order_relaxed);
}

AdminReply Controller::abort(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  if (aborts_ == kMaxAborts) {
    AdminReply reply;
    reply.status = Status::kAbortLimitExceeded;
    reply.result = 1;
    return reply;
  }
  const uint16_t queue_id = uint16_t(uint32_t(sqe.cdw10));
  const auto queue = queues_.find(queue_id);
  if (queue == queues_.end()) return answer(1);  // the queue does not exist
  ++aborts_;
  AdminReply reply;
  reply.kind = AdminReply::Kind::kAbort;
  reply.abort_cid = uint16_t(uint32_t(sqe.cdw10) >> 16);
  reply.abort_queue = queue->second.queue;
  return reply;
}

void Controller::abort_finished() {
  const std::lock_guard lock(mutex_);
  --aborts_;
}

uint32_t Controller::supported_events() const {
  if (identity_.discovery) return kEventDiscovery;
  return kEventNamespace | (subsystem_->ana_reporting ? kEventAccess : 0);
}

AdminReply Controller::park_event(const AdminRequest& request) {
  if (parked_.size() == kMaxAsyncEvents) return refuse(Status::kAsyncEventLimitExceeded);
  parked_.push_back(request.sqe.command_id);
  bool wake = false;
  for (const EventFacts& each : kEvents) {
    if ((events_pending_ & each.bit) != 0) raise_locked(each.event, wake);
  }
  // The caller calls take_events() after a park, so no wake-up is needed.
  AdminReply reply;
  reply.kind = AdminReply::Kind::kPark;
  return reply;
}

void Controller::raise_locked(AsyncEvent event, bool& wake) {
  const EventFacts& facts = *std::ranges::find(kEvents, event, &EventFacts::event);
  const uint32_t bit = facts.bit;
  if (!facts.always && (events_enabled_ & bit) == 0) return;
  if ((events_masked_ & bit) != 0) return;
  if (parked_.empty()) {
    events_pending_ |= bit;
    return;
  }
  events_pending_ &= ~bit;
  events_masked_ |= bit;
  completions_.push_back({parked_.front(), facts.result});
  parked_.erase(parked_.begin());
  wake = true;
}

void Controller::namespaces_changed(std::span<const uint32_t> nsids) {
  if (nsids.empty() || identity_.discovery) return;
  bool wake = false;
  QueueRef admin;
  {
    const std::lock_guard lock(mutex_);
    wake = note_changed_locked(nsids);
    admin = admin_queue_locked();
  }
  if (wake) host_.events_ready(admin);
}

// True if an event is ready for the host.
bool Controller::note_changed_locked(std::span<const uint32_t> nsids) {
  for (const uint32_t nsid : nsids) {
    if (std::find(changed_.begin(), changed_.end(), nsid) != changed_.end()) continue;
    if (changed_.size() == kMaxChangedNamespaces) {
      changed_overflow_ = true;
    } else {
      changed_.push_back(nsid);
    }
  }
  bool wake = false;
  raise_locked(AsyncEvent::kNamespaceChanged, wake);
  return wake;
}

void Controller::discovery_changed() {
  bool wake = false;
  QueueRef admin;
  {
    const std::lock_guard lock(mutex_);
    if (!identity_.discovery) return;
    raise_locked(AsyncEvent::kDiscoveryChanged, wake);
    admin = admin_queue_locked();
  }
  if (wake) host_.events_ready(admin);
}

std::vector<AsyncCompletion> Controller::take_events() {
  const std::lock_guard lock(mutex_);
  return std::exchange(completions_, {});
}

bool Controller::unpark(uint16_t command_id) {
  const std::lock_guard lock(mutex_);
  return std::erase(parked_, command_id) != 0;
}

void Controller::record_error(uint16_t queue_id, uint16_t command_id, Status status, uint32_t nsid,
                              uint64_t lba) {
  const std::lock_guard lock(mutex_);
  nvme_error_log_page entry{};
  entry.error_count = nvme::le(++errors_);
  entry.sqid = nvme::le(queue_id);
  entry.cmdid = nvme::le(command_id);
  entry.status_field = nvme::le(uint16_t(uint16_t(status) << 1));
  entry.parm_error_location = nvme::le(uint16_t{0xffff});
  entry.lba = nvme::le(lba);
  entry.nsid = nvme::le(nsid);
  entry.trtype = NVMF_TRTYPE_RDMA;
  if (error_log_.size() < kErrorLogEntries) {
    error_log_.push_back(entry);
  } else {
    error_log_[(errors_ - 1) % kErrorLogEntries] = entry;
  }
}

}  // namespace mrpool::nvmf_target
