#include "transport/verbs/cq.h"

#include <array>
#include <cerrno>

#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"

namespace mrpool::verbs {

absl::StatusOr<std::unique_ptr<VerbsCq>> VerbsCq::create(std::shared_ptr<VerbsDevice> device,
                                                         Reactor& reactor,
                                                         const CqOptions& options) {
  if (options.depth == 0) return absl::InvalidArgumentError("CqOptions::depth is 0");
  const std::string& name = device->caps().name;
  check_thread(reactor, "Device::create_cq");
  if (options.depth > device->caps().max_cqe) {
    return checks::over_limit("CqOptions::depth", options.depth, device->caps().max_cqe, name);
  }
  auto cq = std::make_unique<VerbsCq>(device, reactor, options.depth);
  cq->channel_ = ibv_create_comp_channel(device->context());
  if (cq->channel_ == nullptr) return errno_status(errno, "creating a completion channel", name);
  cq->cq_ = ibv_create_cq(device->context(), int(options.depth), nullptr, cq->channel_, 0);
  if (cq->cq_ == nullptr) return errno_status(errno, "creating a completion queue", name);
  cq->watch_ = std::make_unique<FdWatch>();
  if (absl::Status status = cq->watch_->start(reactor, cq->channel_->fd, *cq); !status.ok()) {
    return status;
  }
  reactor.add_poller(*cq);
  cq->polled_ = true;
  return cq;
}

VerbsCq::VerbsCq(std::shared_ptr<VerbsDevice> device, Reactor& reactor, uint32_t depth)
    : device_(std::move(device)), reactor_(reactor), room_(depth) {}

VerbsCq::~VerbsCq() {
  if (gone_ != nullptr) *gone_ = true;
  if (polled_) reactor_.remove_poller(*this);
  watch_.reset();
  if (cq_ != nullptr && ibv_destroy_cq(cq_) != 0) die("a Cq was destroyed before its Qps");
  if (channel_ != nullptr) ibv_destroy_comp_channel(channel_);
}

void VerbsCq::attach(uint32_t owner, uint32_t number, WcSink& sink) {
  owners_[owner] = &sink;
  numbers_[number] = &sink;
}

void VerbsCq::detach(uint32_t owner, uint32_t number) {
  owners_.erase(owner);
  numbers_.erase(number);
  last_owner_ = 0;
  last_sink_ = nullptr;
}

WcSink* VerbsCq::sink_of(const ibv_wc& wc) {
  const auto find = [](const auto& map, uint32_t key) {
    const auto found = map.find(key);
    return found == map.end() ? nullptr : found->second;
  };
  if (kind_of(wc.wr_id) == WrKind::kSrq) return find(numbers_, wc.qp_num);
  if (owner_of(wc.wr_id) != last_owner_) {
    last_owner_ = owner_of(wc.wr_id);
    last_sink_ = find(owners_, last_owner_);
  }
  return last_sink_;
}

bool VerbsCq::fetch() {
  std::array<ibv_wc, kBatch> batch;  // not initialized: most rounds bring few or none
  const int count = ibv_poll_cq(cq_, kBatch, batch.data());
  if (count < 0) die("ibv_poll_cq failed");
  fetched_.insert(fetched_.end(), batch.begin(), batch.begin() + count);
  return count > 0;
}

bool VerbsCq::poll() {
  if (next_ == fetched_.size()) {
    fetched_.clear();
    next_ = 0;
    if (!fetch()) return false;
  }
  const Alive alive(gone_);
  // A completion may drain another queue pair, which appends; entries are taken one by one.
  while (next_ < fetched_.size()) {
    const ibv_wc wc = fetched_[next_++];
    if (WcSink* sink = sink_of(wc); sink != nullptr) sink->on_wc(wc);
    if (alive.gone()) return true;
  }
  return true;
}

void VerbsCq::drain(uint32_t owner, uint32_t number) {
  while (fetch()) {
  }
  const Alive alive(gone_);
  for (size_t i = next_; i < fetched_.size(); ++i) {
    const ibv_wc wc = fetched_[i];
    const bool shared = kind_of(wc.wr_id) == WrKind::kSrq;
    if (shared ? wc.qp_num != number : owner_of(wc.wr_id) != owner) continue;
    WcSink* sink = sink_of(wc);
    if (sink == nullptr) return;                          // gone by one of its own completions
    fetched_[i].wr_id = make_wr_id(0, WrKind::kSend, 0);  // nobody's: owners count from 1
    sink->on_wc(wc);
    if (alive.gone()) return;
  }
}

bool VerbsCq::arm() {
  if (next_ < fetched_.size()) return false;
  if (ibv_req_notify_cq(cq_, 0) != 0) die("ibv_req_notify_cq failed");
  // What came between the last poll and the notification raises no event.
  fetched_.clear();
  next_ = 0;
  return !fetch();
}

void VerbsCq::on_readable() {
  // The entries themselves are found by poll(); only the events have to go.
  unsigned events = 0;
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_, &cq, &context) == 0) ++events;
  if (events > 0) ibv_ack_cq_events(cq_, events);
}

}  // namespace mrpool::verbs
