// To add an option: open.h, see sanitizer.h.
#include "transport/uiwarp/sanitizer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "mrpool/internal/report.h"

namespace mrpool {

std::string OrderingReport::to_string() const {
  return absl::StrFormat(
      "ordering sanitizer, seed=%d: withheld %d bytes in %d chunks, %d of them out of order, the "
      "longest for %.3f ms; %d regions opted out of relaxed ordering",
      seed, bytes_withheld, chunks, chunks_reordered,
      static_cast<double>(longest_delay.count()) / 1e6, regions_opted_out);
}

namespace uiwarp {

namespace {

// Small enough that a 64-byte structure is torn, and a 4 KiB block into dozens of chunks.
constexpr size_t kSmallChunkBytes = 128;
// A chunk is at most this part of its segment, so that a large one costs no more chunks than a
// block: what it takes to show one hardly depends on its size. One of a few is small all the same.
constexpr size_t kPart = 16;
constexpr size_t kBlockBytes = 4096;
constexpr uint64_t kOneIsSmallOf = 8;
// Beyond this random chunks become visible early: a debugging aid should not eat the machine.
constexpr size_t kMaxBytesPerQp = 8 << 20;
// Rounds until the first chunk trickles out, and between two.
constexpr uint32_t kFirstRounds = 300;
constexpr uint32_t kNextRounds = 4;
// Rounds that a completion is late, and how many more at most.
constexpr uint32_t kHeldRounds = 4;
constexpr uint32_t kMoreHeldRounds = 24;
constexpr std::byte kPoison{0xbd};

int64_t now_ns() {
  return std::chrono::duration_cast<Nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

OrderingSanitizer::OrderingSanitizer(uint64_t seed, bool poison) : seed_(seed), poison_(poison) {}

OrderingSanitizer::~OrderingSanitizer() { internal::report(report().to_string(), LogLevel::kInfo); }

std::unique_ptr<WithheldData> OrderingSanitizer::withhold_for_qp(const Qp* qp) {
  const std::lock_guard lock(mutex_);
  // Every Qp has a sequence of its own, so that threads do not disturb each other's.
  auto member =
      std::make_unique<WithheldData>(*this, seed_ + 0x9e3779b97f4a7c15 * ++next_member_, qp);
  members_.push_back(member.get());
  return member;
}

void OrderingSanitizer::settle_all() {
  const std::lock_guard lock(mutex_);
  for (WithheldData* member : members_) member->show_where({.stamp = ~uint64_t{0}});
}

OrderingReport OrderingSanitizer::report() const {
  const std::lock_guard lock(mutex_);
  OrderingReport out = counts_;
  out.seed = seed_;
  out.regions_opted_out = opted_out_.load(std::memory_order_relaxed);
  return out;
}

WithheldData::WithheldData(OrderingSanitizer& owner, uint64_t seed, const Qp* qp)
    : owner_(owner), qp_(qp), random_(seed), in_order_(HoldObserver::get() != nullptr) {}

WithheldData::~WithheldData() {
  end();
  const std::lock_guard lock(owner_.mutex_);
  std::erase(owner_.members_, this);
}

void WithheldData::end() {
  order_all();
  if (HoldObserver* observer = HoldObserver::get()) observer->ended(qp_);
}

bool WithheldData::empty() const {
  const std::lock_guard lock(owner_.mutex_);
  return chunks_.empty();
}

void WithheldData::hold(std::byte* to, const std::byte* from, size_t bytes, size_t whole, Kind kind,
                        uint32_t key) {
  hold_chunks(to, from, bytes, whole, kind, key);
  HoldObserver* const observer = HoldObserver::get();
  if (observer == nullptr) return;
  observer->held(qp_, {.to = to,
                       .bytes = bytes,
                       .key = key,
                       .read_response = kind == Kind::kReadResponse,
                       .receive = kind == Kind::kReceive,
                       .stamp = stamp_});
}

// How large the next chunk is, of a segment of `whole`.
size_t WithheldData::piece_of(size_t whole) {
  if (whole <= kBlockBytes || below(kOneIsSmallOf) == 0) return 1 + below(kSmallChunkBytes);
  return 1 + below(whole / kPart);
}

void WithheldData::hold_chunks(std::byte* to, const std::byte* from, size_t bytes, size_t whole,
                               Kind kind, uint32_t key) {
  const std::lock_guard lock(owner_.mutex_);
  if (owner_.poison_) std::memset(to, std::to_integer<int>(kPoison), bytes);
  if (chunks_.empty()) rounds_to_wait_ = static_cast<uint32_t>(below(kFirstRounds));
  owner_.counts_.bytes_withheld += bytes;
  if (in_order_) show_overlapped(to, bytes);
  const int64_t now = now_ns();
  while (bytes > 0) {
    const size_t part = std::min(bytes, piece_of(whole));
    chunks_.push_back({.stamp = ++stamp_,
                       .to = to,
                       .data = std::vector<std::byte>(from, from + part),
                       .kind = kind,
                       .key = key,
                       .since = now,
                       .place = {}});
    if (in_order_) chunks_.back().place = places_.emplace(to, chunks_.size() - 1).first;
    waiting_.insert(stamp_);
    ++owner_.counts_.chunks;
    bytes_ += part;
    to += part;
    from += part;
    bytes -= part;
  }
  while (bytes_ > kMaxBytesPerQp) show(below(chunks_.size()));
}

void WithheldData::order(const OrderPoint& point) {
  const std::lock_guard lock(owner_.mutex_);
  show_where(point);
}

bool WithheldData::reach(const OrderPoint& point) {
  if (!show_or_wait(point)) return false;
  if (HoldObserver* observer = HoldObserver::get()) observer->reached(qp_, point);
  return true;
}

bool WithheldData::show_or_wait(const OrderPoint& point) {
  const std::lock_guard lock(owner_.mutex_);
  const size_t first = gather(point);
  if (first == chunks_.size()) {
    holding_ = false;
    return true;
  }
  if (!std::exchange(holding_, true)) {
    rounds_to_hold_ = kHeldRounds + static_cast<uint32_t>(below(kMoreHeldRounds));
  }
  if (rounds_to_hold_ == 0) {
    holding_ = false;
    show_where(point);
    return true;
  }
  --rounds_to_hold_;
  for (size_t count = 1 + (chunks_.size() - first) / 8; count > 0 && chunks_.size() > first;
       --count) {
    show(first + below(chunks_.size() - first));
  }
  return false;
}

void WithheldData::invalidated(uint32_t key) {
  const std::lock_guard lock(owner_.mutex_);
  for (Chunk& chunk : chunks_) {
    if (chunk.key == key) chunk.kind = Kind::kReadResponse;
  }
  if (HoldObserver* observer = HoldObserver::get()) observer->invalidated(qp_, key);
}

void WithheldData::trickle() {
  const std::lock_guard lock(owner_.mutex_);
  if (chunks_.empty()) return;
  if (rounds_to_wait_ > 0) {
    --rounds_to_wait_;
    return;
  }
  rounds_to_wait_ = static_cast<uint32_t>(below(kNextRounds));
  // A share of what there is, so that megabytes do not take minutes.
  for (size_t count = 1 + chunks_.size() / 256; count > 0; --count) show(below(chunks_.size()));
}

void WithheldData::show(size_t index) {
  Chunk& chunk = chunks_[index];
  if (chunk.stamp != *waiting_.begin()) ++owner_.counts_.chunks_reordered;
  waiting_.erase(chunk.stamp);
  HoldObserver* const observer = HoldObserver::get();
  if (observer == nullptr || !observer->place(chunk.to, chunk.data.data(), chunk.data.size())) {
    std::memcpy(chunk.to, chunk.data.data(), chunk.data.size());
  }
  bytes_ -= chunk.data.size();
  owner_.counts_.longest_delay =
      std::max(owner_.counts_.longest_delay, Nanoseconds(now_ns() - chunk.since));
  if (in_order_) places_.erase(chunk.place);
  if (index + 1 != chunks_.size()) {
    chunk = std::move(chunks_.back());
    moved_to(index);
  }
  chunks_.pop_back();
}

// What waits for one of these bytes is visible before newer data waits for them.
void WithheldData::show_overlapped(std::byte* to, size_t bytes) {
  std::byte* const end = to + bytes;
  while (!places_.empty()) {
    auto it = places_.lower_bound(end);
    if (it == places_.begin()) return;
    --it;
    if (it->first + chunks_[it->second].data.size() <= to) return;
    show(it->second);
  }
}

void WithheldData::moved_to(size_t index) {
  if (in_order_) chunks_[index].place->second = index;
}

// Moves the chunks that `point` orders to the end; returns the place of the first.
size_t WithheldData::gather(const OrderPoint& point) {
  const auto ordered = std::partition(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) {
    return chunk.stamp > point.stamp || (point.only_reads && chunk.kind != Kind::kReadResponse);
  });
  for (size_t i = 0; in_order_ && i < chunks_.size(); ++i) moved_to(i);
  return static_cast<size_t>(ordered - chunks_.begin());
}

void WithheldData::show_where(const OrderPoint& point) {
  const size_t first = gather(point);
  while (chunks_.size() > first) show(first + below(chunks_.size() - first));
}

}  // namespace uiwarp
}  // namespace mrpool
