#include "examples/load/buffer.h"

#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::load {
void Buffer::Free::operator()(std::byte* memory) const { std::free(memory); }

absl::StatusOr<Buffer> Buffer::create(Pd& pd, size_t bytes) {
  constexpr Access kLent = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;
  return create(pd, bytes, base_access(pd.caps(), kLent));
}

absl::StatusOr<Buffer> Buffer::create(Pd& pd, size_t bytes, Access access) {
  constexpr size_t kPage = 4096;
  const size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kPage, rounded)));
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for a buffer of ", bytes));
  }
  std::memset(memory.get(), 0, rounded);
  auto mr = pd.reg_mr({memory.get(), bytes}, access);
  if (!mr.ok()) return mr.status();
  return Buffer(std::move(memory), *std::move(mr));
}

}  // namespace mrpool::load
