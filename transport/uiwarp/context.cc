#include "transport/uiwarp/context.h"

#include <algorithm>
#include <utility>

#include "mrpool/callback.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

namespace {

// Connections that are asked for bytes in every round. More are served by readiness alone: asking
// costs a system call each, whether or not something came.
constexpr size_t kMaxHot = 32;
// More hot connections than this wait for readiness as soon as they are read empty: with so many,
// asking finds mostly nothing. A wait costs no call (edge_set.h).
constexpr size_t kFewHot = 4;
// How long a connection stays hot without traffic.
constexpr Nanoseconds kHotTime = std::chrono::microseconds(200);
// Stands for the time of a connection that had traffic just now: its clock starts to run when it is
// first found silent, so that no clock is read between a message and its answer.
constexpr Nanoseconds kBusy = Nanoseconds::max();
// A hot connection that has brought so much leaves the set of watched sockets. Joining and leaving
// cost about 1 µs each, being watched about 0.1 µs of the sender's time at every message, while the
// receiver waits for the socket's lock.
constexpr uint32_t kReceivesUnwatched = 256;
// Batches that are kept for reuse; more exist only while sockets are full.
constexpr size_t kSpareBatches = 4;
constexpr Nanoseconds kLingerTime = std::chrono::seconds(1);

}  // namespace

// Sends what is still queued, then reads and drops what the peer sends until it closes.
class Lingerer final : public StreamEvents, public Deferred {
 public:
  Lingerer(Context& context, std::unique_ptr<Stream> stream, std::span<const std::byte> last_words)
      : context_(context),
        stream_(std::move(stream)),
        words_(last_words.begin(), last_words.end()) {
    stream_->attach(context_.reactor(), *this);
    timer_.arm(context_.reactor(), kLingerTime);
    context_.defer(*this);
  }
  void on_readable() override { context_.defer(*this); }
  void on_writable() override { context_.defer(*this); }
  void run() override {
    if (expired_ || !speak() || !listen()) context_.forget(*this);  // destroys this
  }

 private:
  void expire() {
    expired_ = true;
    context_.defer(*this);
  }

  // False: there is no point in staying.
  bool speak() {
    while (said_ < words_.size()) {
      const iovec piece{words_.data() + said_, words_.size() - said_};
      const StreamResult result = stream_->writev({&piece, 1});
      if (result.error != 0) return false;
      if (result.would_block) {
        stream_->want_write();
        return true;
      }
      said_ += result.bytes;
    }
    if (!shut_down_) stream_->shutdown_write();
    shut_down_ = true;
    return true;
  }
  bool listen() {
    const std::span<std::byte> scratch = context_.scratch();
    const iovec to{scratch.data(), scratch.size()};
    const StreamResult result = stream_->readv({&to, 1});
    if (result.closed || result.error != 0) return false;
    stream_->want_read();
    return true;
  }

  Context& context_;
  std::unique_ptr<Stream> stream_;
  Bound<Timer, &Lingerer::expire> timer_{*this};
  bool expired_ = false;
  bool shut_down_ = false;
  std::vector<std::byte> words_;
  size_t said_ = 0;
};

struct Context::Lists {
  List<UiwarpQp, &UiwarpQp::hot_node> hot;
  List<UiwarpQp, &UiwarpQp::dirty_node> dirty;
  List<UiwarpCq, &UiwarpCq::node> ready;
  List<Deferred, &Deferred::deferred_node> deferred;
  List<UiwarpQp, &UiwarpQp::withholding_node> withholding;
};

Context::Context(std::shared_ptr<KeyTable> keys, Reactor& reactor)
    : keys_(std::move(keys)),
      reactor_(reactor),
      reader_(keys_->quiescence()),
      scratch_(std::make_unique_for_overwrite<std::byte[]>(kScratchBytes)),
      lists_(std::make_unique<Lists>()) {
  reactor_.add_poller(*this);
}

Context::~Context() {
  reactor_.remove_poller(*this);
  lingerers_.clear();
}

std::unique_ptr<TxBatch> Context::take_batch() {
  if (batches_.empty()) return std::make_unique_for_overwrite<TxBatch>();
  std::unique_ptr<TxBatch> batch = std::move(batches_.back());
  batches_.pop_back();
  batch->clear();
  return batch;
}

void Context::give_batch(std::unique_ptr<TxBatch> batch) {
  if (batches_.size() < kSpareBatches) batches_.push_back(std::move(batch));
}

void Context::wake() {
  if (std::exchange(armed_, false)) wake_up_.arm(reactor_, Nanoseconds::zero());
}

void Context::ready(UiwarpCq& queue) {
  wake();
  lists_->ready.push_back(queue);
}

void Context::make_dirty(UiwarpQp& qp) {
  wake();
  lists_->dirty.push_back(qp);
}

void Context::make_withholding(UiwarpQp& qp) { lists_->withholding.push_back(qp); }

void Context::defer(Deferred& call) {
  wake();
  if (!call.deferred_node.linked()) lists_->deferred.push_back(call);
}

void Context::make_hot(UiwarpQp& qp) {
  wake();
  qp.hot_until = kBusy;
  if (qp.hot_node.linked()) return;
  qp.receives = 0;
  lists_->hot.push_back(qp);
}

void Context::make_cold(UiwarpQp& qp) {
  qp.hot_node.unlink();
  qp.wait_for_bytes();
}

void Context::linger(std::unique_ptr<Stream> stream, std::span<const std::byte> last_words) {
  lingerers_.push_back(std::make_unique<Lingerer>(*this, std::move(stream), last_words));
}

void Context::forget(const Lingerer& lingerer) {
  std::erase_if(lingerers_, [&](const auto& each) { return each.get() == &lingerer; });
}

bool Context::poll() {
  // An owner may destroy its last Qp and Cq from a callback, and with them all that keeps this.
  const std::shared_ptr<Context> alive = shared_from_this();
  armed_ = false;
  // What was posted since the last round goes out before anybody is asked for bytes.
  bool worked = send();
  worked |= receive();
  worked |= hand_over();
  if (send()) {
    worked = true;
    hand_over();
  }
  lists_->withholding.for_each([](UiwarpQp& qp) {
    if (!qp.trickle()) qp.withholding_node.unlink();
  });
  return worked;
}

bool Context::arm() {
  if (!lists_->ready.empty() || !lists_->deferred.empty() || !lists_->dirty.empty()) return false;
  if (!lists_->withholding.empty()) return false;  // rounds must go by
  // Of a message that has waited no byte comes that would wake the reactor.
  bool goes_on = false;
  lists_->hot.for_each([&](UiwarpQp& qp) { goes_on |= qp.can_go_on(); });
  if (goes_on) return false;
  lists_->hot.for_each([this](UiwarpQp& qp) { make_cold(qp); });
  armed_ = true;
  return true;
}

bool Context::receive() {
  bool worked = false;
  size_t asked = 0;
  const bool crowded = hot_ > kFewHot;
  lists_->hot.for_each([&](UiwarpQp& qp) {
    if (qp.receive()) {
      worked = true;
      qp.hot_until = kBusy;
      if (crowded && qp.drained && qp.hot_node.linked()) {
        make_cold(qp);
      } else if (++qp.receives % kReceivesUnwatched == 0) {
        qp.stop_watching();
      }
    } else if (qp.hot_node.linked()) {
      if (qp.hot_until == kBusy) qp.hot_until = reactor_.now() + kHotTime;
      if (asked >= kMaxHot || reactor_.now() >= qp.hot_until) make_cold(qp);
    }
    ++asked;
  });
  hot_ = asked;
  return worked;
}

bool Context::hand_over() {
  bool worked = false;
  // What is there now; what is added meanwhile belongs to the next round.
  List<UiwarpCq, &UiwarpCq::node> ready;
  ready.take(lists_->ready);
  while (UiwarpCq* queue = ready.pop_front()) worked |= queue->dispatch();
  List<Deferred, &Deferred::deferred_node> deferred;
  deferred.take(lists_->deferred);
  while (Deferred* call = deferred.pop_front()) {
    worked = true;
    call->run();
  }
  return worked;
}

bool Context::send() {
  bool worked = false;
  List<UiwarpQp, &UiwarpQp::dirty_node> dirty;
  dirty.take(lists_->dirty);
  while (UiwarpQp* qp = dirty.pop_front()) worked |= qp->send();
  return worked;
}

}  // namespace mrpool::uiwarp
