// Where a command's data is: in its capsule, or in the host's memory behind one or several keys.
//
// Pure: works on the bytes of one capsule, which must stay as long as the result is used.
// Clauses: [base] 4.4 SGLs, [fab] 2.3 and the RDMA binding 7.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "examples/protocol/nvme/wire.h"
#include "mrpool/types.h"

namespace mrpool::nvmf_target {

struct DataBuffers {
  uint64_t length = 0;                     // bytes described
  std::span<const std::byte> in_capsule;   // when the data came along
  const std::byte* descriptors = nullptr;  // keyed data blocks, unaligned
  uint32_t count = 0;                      // of them
  std::optional<Rkey> invalidate;          // the key the host wants dead with the response

  bool remote() const { return count != 0; }
  RemoteBuffer remote(uint32_t index) const;  // requires index < count
};

// Reads the SGL of the command at the front of `capsule` (at least 64 bytes). A descriptor of
// length 0 stands for no data.
[[nodiscard]] nvme::Status parse_sgl(std::span<const std::byte> capsule, DataBuffers& data);

}  // namespace mrpool::nvmf_target
