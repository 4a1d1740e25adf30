#include "examples/load/buffer.h"

#include <sys/mman.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::load {
void Buffer::Free::operator()(std::byte* memory) const { ::munmap(memory, bytes); }

absl::StatusOr<Buffer> Buffer::create(Pd& pd, size_t bytes) {
  constexpr Access kLent = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;
  return create(pd, bytes, base_access(pd.caps(), kLent));
}

absl::StatusOr<Buffer> Buffer::create(Pd& pd, size_t bytes, Access access) {
  void* const mapped =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for a buffer of ", bytes));
  }
  Memory memory(static_cast<std::byte*>(mapped), Free{bytes});
  auto mr = pd.reg_mr({memory.get(), bytes}, access);
  if (!mr.ok()) return mr.status();
  return Buffer(std::move(memory), *std::move(mr));
}

}  // namespace mrpool::load
