#include "examples/engine/staging.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

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
  return pages;
}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(memory_, other.memory_);
  return *this;
}

Pages::~Pages() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

Staging::Server::Server(Staging& owner)
    : Task([](Task& self) {
        Server& server = static_cast<Server&>(self);
        server.posted = false;
        server.staging.serve();
      }),
      staging(owner) {}

absl::StatusOr<std::unique_ptr<Staging>> Staging::create(Reactor& reactor, uint64_t bytes) {
  const uint64_t chunks = std::clamp<uint64_t>(bytes / kChunk, 1, kMaxStaging / kChunk);
  auto pages = Pages::create(chunks * kChunk);
  if (!pages.ok()) return pages.status();
  madvise(pages->memory().data(), pages->memory().size(), MADV_HUGEPAGE);
  return std::unique_ptr<Staging>(new Staging(reactor, std::move(*pages)));
}

Staging::Staging(Reactor& reactor, Pages pages)
    : reactor_(reactor), pages_(std::move(pages)), server_(*this) {
  free_.reserve(total());
  for (size_t i = total(); i-- > 0;) free_.push_back(uint16_t(i));
}

void Staging::grant(StagingClaim& claim) {
  for (uint32_t i = 0; i < claim.wanted_; ++i) {
    claim.chunks_[i] = free_.back();
    free_.pop_back();
  }
  claim.held_ = claim.wanted_;
  claim.owner_.held += claim.held_;
  high_water_ = std::max(high_water_, in_use());
}

bool Staging::take(StagingClaim& claim, uint32_t chunks) {
  claim.wanted_ = uint16_t(chunks);
  // After those that wait, so that a big claim is not starved by small ones.
  if (first_ == nullptr && free_.size() >= chunks) {
    grant(claim);
    return true;
  }
  claim.next_ = nullptr;
  (first_ == nullptr ? first_ : last_->next_) = &claim;
  last_ = &claim;
  claim.waiting_ = true;
  ++claim.owner_.waiting;
  ++waiting_;
  ++waits_;
  return false;
}

void Staging::put(StagingClaim& claim) {
  if (claim.held_ == 0) return;
  // The chunk used last is the next one used: its lines are still in the cache.
  for (uint32_t i = claim.held_; i-- > 0;) free_.push_back(claim.chunks_[i]);
  claim.owner_.held -= claim.held_;
  claim.held_ = 0;
  serve_soon();
}

void Staging::cancel(StagingClaim& claim) {
  StagingClaim* before = nullptr;
  for (StagingClaim* at = first_; at != nullptr; before = at, at = at->next_) {
    if (at != &claim) continue;
    (before == nullptr ? first_ : before->next_) = at->next_;
    if (last_ == at) last_ = before;
    claim.waiting_ = false;
    --claim.owner_.waiting;
    --waiting_;
    serve_soon();  // those after it may fit now
    return;
  }
}

void Staging::serve_soon() {
  if (first_ == nullptr || std::exchange(server_.posted, true)) return;
  reactor_.post(server_);
}

void Staging::serve() {
  while (first_ != nullptr && free_.size() >= first_->wanted_) {
    StagingClaim& claim = *first_;
    first_ = claim.next_;
    if (first_ == nullptr) last_ = nullptr;
    claim.waiting_ = false;
    --claim.owner_.waiting;
    --waiting_;
    grant(claim);
    claim.ready_(claim);
  }
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
