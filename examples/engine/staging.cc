#include "examples/engine/staging.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::nvmf_target {

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

absl::StatusOr<std::unique_ptr<BufferPool>> BufferPool::create(uint64_t bytes) {
  const uint64_t chunks = std::clamp<uint64_t>(bytes / kChunk, 1, 0xffff);
  auto pages = Pages::create(chunks * kChunk);
  if (!pages.ok()) return pages.status();
  const std::span memory = pages->memory();
  Pages kept = std::move(*pages);
  auto pool = std::unique_ptr<BufferPool>(new BufferPool(memory));
  pool->pages_ = std::move(kept);
  madvise(memory.data(), memory.size(), MADV_HUGEPAGE);
  return pool;
}

BufferPool::BufferPool(std::span<std::byte> memory) : memory_(memory) {
  free_.reserve(total());
  for (size_t i = total(); i-- > 0;) free_.push_back(uint16_t(i));
}

}  // namespace mrpool::nvmf_target
