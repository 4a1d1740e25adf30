#include "examples/nvmf/target/controller.h"

#include <algorithm>
#include <optional>

namespace mrpool::nvmf_target {

using nvme::Property;
using nvme::Status;
using nvme::with_dnr;

namespace {

AdminReply refuse(Status status) {
  AdminReply reply;
  reply.status = with_dnr(status);
  return reply;
}
AdminReply answer(uint64_t result) {
  AdminReply reply;
  reply.result = result;
  return reply;
}

// Results of the events in dword 0: type | information << 8 | log page << 16.
constexpr uint32_t kNotice = 2;
constexpr uint32_t kNamespaceResult = kNotice | 0x00 << 8 | uint32_t(NVME_LOG_LID_CHANGED_NS) << 16;
constexpr uint32_t kDiscoveryResult = kNotice | 0xf0 << 8 | uint32_t(NVME_LOG_LID_DISCOVER) << 16;

// CAP: MQES, CQR (queues are contiguous), TO 7.5 s, command set NVM, pages of 4 KiB.
constexpr uint64_t kCap =
    uint64_t(kMaxQueueEntries - 1) | uint64_t{1} << 16 | uint64_t{15} << 24 | uint64_t{1} << 37;
constexpr uint32_t kVersion = 1u << 16 | 4u << 8;  // 1.4.0

// Which threshold CDW11 of the Temperature Threshold feature selects, [base] 5.27.1.3: 0 over, 1
// under, of the composite temperature; there is no other sensor.
std::optional<size_t> threshold_of(uint32_t cdw11) {
  const uint32_t sensor = cdw11 >> 16 & 0xf;
  const uint32_t type = cdw11 >> 20 & 3;
  if (sensor != 0 || type > 1) return std::nullopt;
  return type;
}

}  // namespace

Controller::Controller(Identity identity, std::shared_ptr<Subsystem> subsystem,
                       ControllerHost& host, const DiscoverySource& discovery, Nanoseconds now)
    : identity_(std::move(identity)),
      subsystem_(std::move(subsystem)),
      host_(host),
      discovery_(discovery),
      keep_alive_ms_(identity_.keep_alive_ms),
      last_sign_(now) {}

void Controller::attach_admin(QueueRef queue) {
  const std::lock_guard lock(mutex_);
  queues_.emplace(0, Member{queue});
}

Controller::Join Controller::join(uint16_t queue_id, QueueRef queue) {
  const std::lock_guard lock(mutex_);
  const bool draining = std::any_of(queues_.begin(), queues_.end(),
                                    [](const auto& entry) { return entry.second.closed; });
  if (resetting_ || draining) return Join::kWait;
  if (!enabled_locked()) return Join::kRefused;
  return queues_.emplace(queue_id, Member{queue}).second ? Join::kJoined : Join::kRefused;
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

bool Controller::has_queues() const {
  const std::lock_guard lock(mutex_);
  return !queues_.empty();
}

bool Controller::has_io_queues_locked() const { return queues_.upper_bound(0) != queues_.end(); }

// Ends a reset or a shutdown that waited for the I/O queues.
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
  // A reset that is under way is not interrupted: the host has to see CSTS.RDY at 0 first.
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
    // A discovery controller has no I/O queues, whose entry sizes are then not looked at.
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
  // The commands end, and give their entries of the queue back, before the host sees the reset
  // done.
  for (AsyncCompletion& event : completions_)
    event = {event.command_id, 0, Status::kAbortRequested};
  for (const uint16_t id : parked_) completions_.push_back({id, 0, Status::kAbortRequested});
  parked_.clear();
  changed_.clear();
  changed_overflow_ = false;
  arbitration_ = power_state_ = error_recovery_ = write_atomicity_ = 0;
  thresholds_ = kThresholds;
  write_cache_.store(true, std::memory_order_relaxed);
}

AdminReply Controller::admin(const nvme::Sqe& sqe, uint64_t data_length, Nanoseconds now) {
  const auto opcode = nvme::AdminOpcode(sqe.opcode);
  AdminReply reply;
  // The target calls its controllers with its own lock held: ask it before ours is taken.
  std::vector<std::byte> discovery;
  if (opcode == nvme::AdminOpcode::kGetLogPage && identity_.discovery &&
      (sqe.cdw10 & 0xff) == NVME_LOG_LID_DISCOVER) {
    discovery = discovery_.discovery_log(identity_.host_nqn, identity_.local_address);
  }
  {
    const std::lock_guard lock(mutex_);
    // Before CC.EN only properties make sense, [fab] 3.3.
    if ((csts_ & nvme::kCstsReady) == 0) return refuse(Status::kCommandSequence);
    switch (opcode) {
      case nvme::AdminOpcode::kKeepAlive:
        last_sign_ = now;
        return answer(0);
      case nvme::AdminOpcode::kAsyncEventRequest:
        return park_event(sqe);
      case nvme::AdminOpcode::kIdentify:
        reply = identify(sqe);
        break;
      case nvme::AdminOpcode::kGetLogPage:
        reply = get_log_page(sqe, data_length, now, std::move(discovery));
        break;
      case nvme::AdminOpcode::kSetFeatures:
        return set_features(sqe, now);
      case nvme::AdminOpcode::kGetFeatures:
        reply = get_features(sqe);
        break;
      case nvme::AdminOpcode::kAbort:
        return identity_.discovery ? refuse(Status::kInvalidOpcode) : abort(sqe);
      default:
        return refuse(Status::kInvalidOpcode);
    }
  }
  // The data has the length the command names, and the SGL must describe just that.
  if (ok(reply.status) && reply.data.size() != data_length) return refuse(Status::kSglDataLength);
  return reply;
}

AdminReply Controller::abort(const nvme::Sqe& sqe) {
  if (aborts_ == kMaxAborts) {
    AdminReply reply;
    reply.status = Status::kAbortLimitExceeded;
    reply.result = 1;
    return reply;
  }
  const uint16_t queue_id = uint16_t(uint32_t(sqe.cdw10));
  const auto queue = queues_.find(queue_id);
  if (queue == queues_.end()) return answer(1);  // nothing there to abort
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
  return identity_.discovery ? kEventDiscovery : kEventNamespace;
}

AdminReply Controller::park_event(const nvme::Sqe& sqe) {
  if (parked_.size() == kMaxAsyncEvents) return refuse(Status::kAsyncEventLimitExceeded);
  parked_.push_back(sqe.command_id);
  bool wake = false;
  for (const uint32_t bit : {kEventNamespace, kEventDiscovery}) {
    if ((events_pending_ & bit) != 0) {
      raise_locked(
          bit == kEventNamespace ? AsyncEvent::kNamespaceChanged : AsyncEvent::kDiscoveryChanged,
          wake);
    }
  }
  // The caller asks take_events() after a park, so nobody has to be woken.
  AdminReply reply;
  reply.kind = AdminReply::Kind::kPark;
  return reply;
}

void Controller::raise_locked(AsyncEvent event, bool& wake) {
  const bool ns = event == AsyncEvent::kNamespaceChanged;
  const uint32_t bit = ns ? kEventNamespace : kEventDiscovery;
  if ((events_enabled_ & bit) == 0 || (events_masked_ & bit) != 0) return;
  if (parked_.empty()) {
    events_pending_ |= bit;
    return;
  }
  events_pending_ &= ~bit;
  events_masked_ |= bit;
  completions_.push_back({parked_.front(), ns ? kNamespaceResult : kDiscoveryResult});
  parked_.erase(parked_.begin());
  wake = true;
}

void Controller::namespaces_changed(std::span<const uint32_t> nsids) {
  if (nsids.empty() || identity_.discovery) return;
  bool wake = false;
  QueueRef admin;
  {
    const std::lock_guard lock(mutex_);
    for (const uint32_t nsid : nsids) {
      if (std::find(changed_.begin(), changed_.end(), nsid) != changed_.end()) continue;
      if (changed_.size() == kMaxChangedNamespaces) {
        changed_overflow_ = true;
      } else {
        changed_.push_back(nsid);
      }
    }
    raise_locked(AsyncEvent::kNamespaceChanged, wake);
    admin = admin_queue_locked();
  }
  if (wake) host_.events_ready(admin);
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

void Controller::note_traffic(Nanoseconds now) {
  if (!subsystem_->traffic_keep_alive) return;
  const std::lock_guard lock(mutex_);
  last_sign_ = now;
}

bool Controller::keep_alive_expired(Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  if (keep_alive_ms_ == 0 || now - last_sign_ <= std::chrono::milliseconds(keep_alive_ms_)) {
    return false;
  }
  csts_ |= nvme::kCstsFatal;
  return true;
}

uint32_t Controller::keep_alive_ms() const {
  const std::lock_guard lock(mutex_);
  return keep_alive_ms_;
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

LogRange log_range(const nvme::Sqe& sqe) {
  const uint64_t dwords =
      (uint64_t(uint32_t(sqe.cdw11) & 0xffff) << 16 | uint32_t(sqe.cdw10) >> 16) + 1;
  return {uint64_t(uint32_t(sqe.cdw13)) << 32 | uint32_t(sqe.cdw12), dwords * 4};
}

// Set and Get Features, [base] 5.27 and 5.15.
AdminReply Controller::set_features(const nvme::Sqe& sqe, Nanoseconds now) {
  const uint32_t feature = sqe.cdw10 & 0xff;
  const uint32_t value = sqe.cdw11;
  if ((sqe.cdw10 & 1u << 31) != 0) return refuse(Status::kFeatureNotSaveable);
  if (feature == NVME_FEAT_FID_KATO) {
    // Rounded up to whole 100 ms, which is what KAS promises.
    constexpr uint32_t kUnit = kKeepAliveGranularity * 100;
    keep_alive_ms_ =
        value > ~uint32_t{0} - kUnit ? value / kUnit * kUnit : (value + kUnit - 1) / kUnit * kUnit;
    last_sign_ = now;
    return answer(0);
  }
  if (feature == NVME_FEAT_FID_ASYNC_EVENT) {
    if ((value & ~(supported_events() | 0xffu)) != 0) return refuse(Status::kInvalidField);
    events_enabled_ = value;
    events_pending_ &= value;
    return answer(0);
  }
  if (identity_.discovery) return refuse(Status::kInvalidField);
  switch (feature) {
    case NVME_FEAT_FID_ARBITRATION:
      arbitration_ = value;
      return answer(0);
    case NVME_FEAT_FID_POWER_MGMT:
      if ((value & 0x1f) != 0) return refuse(Status::kInvalidField);  // power state 0 is all
      power_state_ = value;
      return answer(0);
    case NVME_FEAT_FID_TEMP_THRESH: {
      const auto which = threshold_of(value);
      if (!which.has_value()) return refuse(Status::kInvalidField);
      thresholds_[*which] = value & 0xffff;
      return answer(0);
    }
    case NVME_FEAT_FID_ERR_RECOVERY:
      if ((value & 1u << 16) != 0) return refuse(Status::kInvalidField);  // DULBE is not offered
      error_recovery_ = value & 0xffff;
      return answer(0);
    case NVME_FEAT_FID_VOLATILE_WC:
      if (!subsystem_->namespaces()->volatile_cache()) return refuse(Status::kInvalidField);
      write_cache_.store((value & 1) != 0, std::memory_order_relaxed);
      return answer(0);
    case NVME_FEAT_FID_NUM_QUEUES: {
      const uint32_t sq = value & 0xffff;
      const uint32_t cq = value >> 16;
      if (sq == 0xffff || cq == 0xffff) return refuse(Status::kInvalidField);
      if (has_io_queues_locked()) return refuse(Status::kCommandSequence);
      const uint32_t most = kMaxIoQueues - 1;
      return answer(std::min(sq, most) | std::min(cq, most) << 16);
    }
    case NVME_FEAT_FID_WRITE_ATOMIC:
      write_atomicity_ = value & 1;
      return answer(0);
    case NVME_FEAT_FID_HOST_ID:
      // In Fabrics the Connect command has set it for good, [base] 5.27.1.25.
      return refuse(Status::kCommandSequence);
    default:  // interrupts too, which only memory based controllers have
      return refuse(Status::kInvalidField);
  }
}

AdminReply Controller::get_features(const nvme::Sqe& sqe) const {
  enum : uint32_t { kCurrent = 0, kDefault = 1, kSaved = 2, kSupported = 3 };
  const uint32_t feature = sqe.cdw10 & 0xff;
  const uint32_t select = (sqe.cdw10 >> 8) & 7;
  if (select > kSupported) return refuse(Status::kInvalidField);
  constexpr uint32_t kChangeable = 1u << 2;
  const auto value = [&](uint32_t current, uint32_t by_default = 0) {
    if (select == kSupported) return answer(kChangeable);
    // Nothing is saveable, so what is saved is the default.
    return answer(select == kCurrent ? current : by_default);
  };
  AdminReply reply;
  if (feature == NVME_FEAT_FID_KATO) {
    reply = value(keep_alive_ms_);
  } else if (feature == NVME_FEAT_FID_ASYNC_EVENT) {
    reply = value(events_enabled_);
  } else if (identity_.discovery) {
    return refuse(Status::kInvalidField);
  } else {
    switch (feature) {
      case NVME_FEAT_FID_ARBITRATION:
        reply = value(arbitration_);
        break;
      case NVME_FEAT_FID_POWER_MGMT:
        reply = value(power_state_);
        break;
      case NVME_FEAT_FID_TEMP_THRESH: {
        const auto which = threshold_of(sqe.cdw11);
        if (!which.has_value()) return refuse(Status::kInvalidField);
        reply = value(thresholds_[*which], kThresholds[*which]);
        break;
      }
      case NVME_FEAT_FID_ERR_RECOVERY:
        reply = value(error_recovery_);
        break;
      case NVME_FEAT_FID_VOLATILE_WC:
        if (!subsystem_->namespaces()->volatile_cache()) return refuse(Status::kInvalidField);
        reply = value(write_cache_.load(std::memory_order_relaxed) ? 1 : 0, 1);
        break;
      case NVME_FEAT_FID_NUM_QUEUES: {
        constexpr uint32_t kMost = kMaxIoQueues - 1;
        reply = value(kMost | kMost << 16, kMost | kMost << 16);
        break;
      }
      case NVME_FEAT_FID_WRITE_ATOMIC:
        reply = value(write_atomicity_);
        break;
      case NVME_FEAT_FID_HOST_ID: {
        if (select == kSupported) return answer(0);
        // Fabrics uses the 128 bit form only.
        if ((sqe.cdw11 & 1) == 0) return refuse(Status::kHostIdInconsistent);
        const auto id = std::as_bytes(std::span(identity_.host_id));
        reply.data.assign(id.begin(), id.end());
        break;
      }
      default:
        return refuse(Status::kInvalidField);
    }
  }
  return reply;
}

}  // namespace mrpool::nvmf_target
