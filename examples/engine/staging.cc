#include "examples/engine/staging.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/core_dump.h"

namespace mrpool::engine {

absl::StatusOr<Pages> Pages::create(size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes: ", std::strerror(errno)));
  }
  Pages pages;
  pages.memory_ = {static_cast<std::byte*>(at), bytes};
  base::keep_out_of_core_dump(pages.memory_);
  return pages;
}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(memory_, other.memory_);
  return *this;
}

Pages::~Pages() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

absl::StatusOr<std::unique_ptr<Staging>> Staging::create(Reactor& reactor, uint64_t bytes) {
  const uint64_t chunks = std::clamp<uint64_t>(bytes / kChunk, 1, kMaxStaging / kChunk);
  auto pages = Pages::create(chunks * kChunk);
  if (!pages.ok()) return pages.status();
  madvise(pages->memory().data(), pages->memory().size(), MADV_HUGEPAGE);
  return std::unique_ptr<Staging>(new Staging(reactor, std::move(*pages)));
}

Staging::Staging(Reactor& reactor, Pages pages)
    : reactor_(reactor),
      pages_(std::move(pages)),
      // If the longest claim would not fit next to the reserved chunks, none are reserved.
      urgent_(total() <= kMaxChunks
                  ? 0
                  : uint32_t(std::min<size_t>(kUrgentChunks, total() - kMaxChunks))),
      spare_(uint32_t(std::min<size_t>(kMaxChunks, total() / 4))) {
  free_.reserve(total());
  for (size_t i = total(); i-- > 0;) free_.push_back(uint16_t(i));
}

namespace {

// Returns the entry for `key`, created if it does not exist.
template <typename Map, typename Key, typename Make>
auto shared_by(Map& map, const Key& key, const Make& make) {
  if (const auto at = map.find(key); at != map.end()) {
    if (auto shared = at->second.lock(); shared != nullptr) return shared;
  }
  std::erase_if(map, [](const auto& entry) { return entry.second.expired(); });
  auto shared = make();
  map.emplace(key, shared);
  return shared;
}

}  // namespace

std::shared_ptr<StagingHost> Staging::host(std::string_view name) {
  return shared_by(hosts_, name, [] { return std::make_shared<StagingHost>(); });
}

std::shared_ptr<StagingFlow> Staging::flow(const std::shared_ptr<StagingHost>& host,
                                           const void* key) {
  return shared_by(flows_, std::pair<const StagingHost*, const void*>(host.get(), key), [&] {
    std::shared_ptr<StagingStore> store;
    if (key != nullptr) {
      store = shared_by(stores_, key, [] { return std::make_shared<StagingStore>(); });
    }
    return std::make_shared<StagingFlow>(host, std::move(store));
  });
}

Staging::Verdict Staging::look(const StagingFlow& flow, uint32_t chunks) const {
  const StagingHost& host = *flow.host_;
  const bool urgent = flow.urgent() && host.urgent + chunks <= urgent_ / 2;
  const size_t kept = urgent ? 0 : urgent_;
  if (free_.size() < chunks + kept) return Verdict::kMemory;
  if (urgent) return Verdict::kYes;
  const size_t left = free_.size() - chunks - kept;
  const StagingStore* const store = flow.store_.get();
  if (store != nullptr) {
    const uint32_t kept_by_store = store->inside + flow.outside_;
    if (kept_by_store != 0 && kept_by_store + chunks > kStoreShare * left) return Verdict::kStore;
  }
  if (host.held == 0) return Verdict::kYes;
  return left >= spare_ && host.held + chunks <= kHostShare * left ? Verdict::kYes
                                                                   : Verdict::kMemory;
}

void Staging::grant(StagingClaim& claim) {
  for (uint32_t i = 0; i < claim.wanted_; ++i) {
    claim.chunks_[i] = free_.back();
    free_.pop_back();
  }
  claim.held_ = claim.wanted_;
  StagingFlow& flow = *claim.flow_;
  flow.host_->held += claim.held_;
  (flow.urgent() ? flow.host_->urgent : flow.outside_) += claim.held_;
  note_use();
  if (in_use() > high_water()) use_.high_water.store(in_use(), std::memory_order_relaxed);
}

void Staging::note_use() { use_.in_use.store(in_use(), std::memory_order_relaxed); }

bool Staging::take(StagingClaim& claim, StagingFlow& flow, uint32_t chunks) {
  claim.flow_ = &flow;
  claim.wanted_ = uint16_t(chunks);
  ++flow.users_;
  // A claim waits for earlier claims of its flow, and for claims of its host that wait for memory,
  // so that short claims do not starve a long one.
  const bool in_turn = flow.claims_.empty() && !flow.host_->short_of_memory;
  const Verdict verdict = look(flow, chunks);
  if (in_turn && verdict == Verdict::kYes) {
    grant(claim);
    return true;
  }
  if (verdict == Verdict::kMemory) flow.host_->short_of_memory = true;
  wait(claim);
  return false;
}

void Staging::wait(StagingClaim& claim) {
  StagingFlow& flow = *claim.flow_;
  if (flow.host_->flows.empty()) needy_.push_back(*flow.host_);
  if (flow.claims_.empty()) flow.host_->flows.push_back(flow);
  flow.claims_.push_back(claim);
  claim.waiting_ = true;
  claim.waits_since_ = reactor_.now();
  ++waiting_;
  ++use_.waits;
}

void Staging::leave_queue(StagingClaim& claim) {
  StagingFlow& flow = *claim.flow_;
  claim.unlink();
  if (flow.claims_.empty()) flow.unlink();
  if (flow.host_->flows.empty()) {
    flow.host_->unlink();
    flow.host_->short_of_memory = false;
    if (StagingHost** const place = std::exchange(flow.host_->place, nullptr)) *place = nullptr;
  }
  claim.waiting_ = false;
  use_.wait_ns += uint64_t((reactor_.now() - claim.waits_since_).count());
  --waiting_;
}

void Staging::enter_store(StagingClaim& claim) {
  if (claim.held_ == 0 || claim.inside_ || claim.flow_->urgent()) return;
  claim.inside_ = true;
  claim.flow_->outside_ -= claim.held_;
  claim.flow_->store_->inside += claim.held_;
}

void Staging::leave_store(StagingClaim& claim) {
  if (!claim.inside_) return;
  claim.inside_ = false;
  claim.flow_->outside_ += claim.held_;
  claim.flow_->store_->inside -= claim.held_;
  serve_soon();  // claims of other hosts may now fit into the store's share
}

void Staging::put(StagingClaim& claim) {
  if (claim.held_ == 0) return;
  leave_store(claim);
  // The chunk that was used last is reused first, because it is still in the cache.
  for (uint32_t i = claim.held_; i-- > 0;) free_.push_back(claim.chunks_[i]);
  StagingFlow& flow = *std::exchange(claim.flow_, nullptr);
  flow.host_->held -= claim.held_;
  (flow.urgent() ? flow.host_->urgent : flow.outside_) -= claim.held_;
  --flow.users_;
  claim.held_ = 0;
  note_use();
  serve_soon();
}

void Staging::cancel(StagingClaim& claim) {
  if (!claim.waiting_) return;
  leave_queue(claim);
  --std::exchange(claim.flow_, nullptr)->users_;
  serve_soon();  // later claims may fit now
}

void Staging::serve_soon() {
  if (needy_.empty() || std::exchange(serving_soon_, true)) return;
  reactor_.post(server_);
}

// Runs one round over the waiting hosts; the host that holds least is first. After a grant, the
// host is sorted again by what it holds. A host that stops waiting meanwhile, or is destroyed,
// leaves its entry empty.
void Staging::serve() {
  serving_soon_ = false;
  round_.clear();
  for (StagingHost& host : needy_) round_.push_back(&host);
  std::ranges::stable_sort(round_, {}, &StagingHost::held);
  for (StagingHost*& place : round_) place->place = &place;
  for (size_t i = 0; i < round_.size();) {
    if (round_[i] == nullptr || !serve_one(*round_[i])) {
      ++i;
      continue;
    }
    for (size_t at = i; at + 1 < round_.size() && follows(round_[at], round_[at + 1]); ++at) {
      std::swap(round_[at], round_[at + 1]);
      round_[at + 1]->place = &round_[at + 1];
      if (round_[at] != nullptr) round_[at]->place = &round_[at];
    }
  }
  for (StagingHost* host : round_) {
    if (host != nullptr) host->place = nullptr;
  }
}

// True if `host` comes after `next`.
bool Staging::follows(const StagingHost* host, const StagingHost* next) {
  return host != nullptr && (next == nullptr || next->held < host->held);
}

// Grants the next claim of the host; false if none can be granted.
bool Staging::serve_one(StagingHost& host) {
  host.short_of_memory = false;
  for (StagingFlow& flow : host.flows) {
    StagingClaim& claim = flow.claims_.front();
    const Verdict verdict = look(flow, claim.wanted_);
    if (verdict == Verdict::kStore) continue;
    if (verdict == Verdict::kMemory) {
      host.short_of_memory = true;
      return false;
    }
    leave_queue(claim);
    if (flow.is_linked()) {  // to the end of the host's flows
      flow.unlink();
      host.flows.push_back(flow);
    }
    grant(claim);
    claim.ready_(claim);
    return true;
  }
  return false;
}

size_t Staging::vectors(const StagingClaim& claim, uint64_t offset, uint64_t length,
                        std::span<iovec> out) const {
  size_t count = 0;
  while (length > 0) {
    const uint64_t part = std::min<uint64_t>(length, kChunk - offset % kChunk);
    out[count++] = {at(claim, offset), size_t(part)};
    offset += part;
    length -= part;
  }
  return count;
}

size_t Staging::sges(const StagingClaim& claim, uint64_t offset, uint64_t length, Lkey key,
                     std::span<Sge> out) const {
  size_t count = 0;
  while (length > 0) {
    const uint64_t part = std::min<uint64_t>(length, kChunk - offset % kChunk);
    out[count++] = {at(claim, offset), uint32_t(part), key};
    offset += part;
    length -= part;
  }
  return count;
}

}  // namespace mrpool::engine
