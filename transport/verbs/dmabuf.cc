// Memory of another device, registered through its dma-buf.
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/mr.h"
#include "transport/verbs/pd.h"

namespace mrpool::verbs {
namespace {

absl::Status check(const DmabufRange& range) {
  constexpr uint64_t kPage = 4096;
  if (range.length == 0) return absl::InvalidArgumentError("a dma-buf range of 0 bytes");
  if (range.length - 1 > UINT64_MAX - range.iova || range.length - 1 > UINT64_MAX - range.offset) {
    return absl::InvalidArgumentError(absl::StrCat("a dma-buf range of ", range.length,
                                                   " bytes wraps at offset ", range.offset,
                                                   " or iova ", range.iova));
  }
  if (range.offset % kPage != range.iova % kPage) {
    return absl::InvalidArgumentError(
        absl::StrCat("dma-buf offset ", range.offset, " and iova ", range.iova,
                     " lie at different places of a page; their last 12 bits must be the same"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Mr>> VerbsPd::reg_dmabuf_mr(const DmabufRange& range,
                                                           Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (absl::Status status = check(range); !status.ok()) return status;
  ibv_mr* mr =
      ibv_reg_dmabuf_mr(pd_, range.offset, range.length, range.iova, range.fd, int(to_ibv(access)));
  if (mr == nullptr) return dmabuf_status(errno, range.fd, caps().name);
  const std::span<std::byte> memory(reinterpret_cast<std::byte*>(uintptr_t(range.iova)),
                                    size_t(range.length));
  return std::make_unique<VerbsMr>(*this, mr, memory, granted);
}

}  // namespace mrpool::verbs
