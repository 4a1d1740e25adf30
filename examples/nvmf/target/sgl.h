// The location of a command's data: in its capsule, or in the host's memory under one or several
// keys.
//
// Pure: works on the bytes of one capsule, which must outlive the result.
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
  std::span<const std::byte> in_capsule;   // if it has the data
  const std::byte* descriptors = nullptr;  // keyed data blocks, unaligned
  uint32_t count = 0;                      // of these
  std::optional<Rkey> invalidate;          // the key that the response must invalidate

  bool remote() const { return count != 0; }
  RemoteBuffer remote(uint32_t index) const;  // requires index < count
};

// Parses the SGL of the command at the start of `capsule` (at least 64 bytes). A descriptor of
// length 0 means no data.
[[nodiscard]] nvme::Status parse_sgl(std::span<const std::byte> capsule, DataBuffers& data);

}  // namespace mrpool::nvmf_target
