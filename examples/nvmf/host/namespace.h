// The identity of a namespace: its identifiers and its shape.
//
// A host that has begun to read or write a namespace reads this again after each reconnection and
// each event: another namespace with the same number must not get the rest of the data.
//
// Everything a controller sends is checked: what is returned has a block size and a number of
// blocks whose product fits.
//
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::host {

struct NamespaceInfo {
  uint32_t nsid = 0;
  uint64_t blocks = 0;
  uint32_t block_size = 0;  // a power of two, 512 at least
  // "uuid:0102...", followed by "nguid:..." and "eui64:..." where the namespace has them; empty: it
  // has no identifier.
  std::string identifiers;
  uint64_t bytes() const { return blocks * block_size; }
  bool operator==(const NamespaceInfo&) const = default;
};

// The identifiers of a Namespace Identification Descriptor list (CNS 03h), or where it names none
// those of Identify Namespace. The list may be cut short anywhere.
std::string namespace_identifiers(const nvme_id_ns& ns, std::span<const std::byte> descriptors);
// Unimplemented: a shape no host of ours can use. NotFound: an inactive namespace.
absl::StatusOr<NamespaceInfo> parse_namespace(uint32_t nsid, const nvme_id_ns& ns,
                                              std::span<const std::byte> descriptors);
// Bytes of a logical block in the format that is in use; 0 when that is not a valid size.
uint64_t block_bytes(const nvme_id_ns& ns);
// OK when `is` is `was`; else Aborted names what has changed.
absl::Status check_same(const NamespaceInfo& was, const NamespaceInfo& is);

}  // namespace mrpool::nvme::host
