#include "examples/nvmf/host/namespace.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mrpool::nvme::host {
namespace {

constexpr int kSmallestBlock = 9, kLargestBlock = 20;  // exponents of two

// Of a Namespace Identification Descriptor ([base] figure 249).
constexpr size_t kDescriptorHeader = 4;
struct IdentifierType {
  uint8_t type;
  uint8_t bytes;
  const char* name;
};
constexpr IdentifierType kUuid{3, 16, "uuid"};
constexpr IdentifierType kNguid{2, 16, "nguid"};
constexpr IdentifierType kEui64{1, 8, "eui64"};

const nvme_lbaf& format_of(const nvme_id_ns& ns) { return ns.lbaf[ns.flbas & 0xf]; }

void add(std::string& text, const IdentifierType& type, std::span<const std::byte> value) {
  if (std::ranges::all_of(value, [](std::byte b) { return b == std::byte{0}; })) return;
  const absl::string_view bytes(reinterpret_cast<const char*>(value.data()), value.size());
  absl::StrAppend(&text, text.empty() ? "" : " ", type.name, ":", absl::BytesToHexString(bytes));
}

// The value of the first descriptor of that type.
std::span<const std::byte> find(const IdentifierType& type, std::span<const std::byte> list) {
  while (list.size() >= kDescriptorHeader && list[0] != std::byte{0}) {
    const size_t size = size_t(list[1]);
    const bool wanted = uint8_t(list[0]) == type.type && size == type.bytes;
    list = list.subspan(kDescriptorHeader);
    if (size == 0 || size > list.size()) break;
    if (wanted) return list.first(size);
    list = list.subspan(size);
  }
  return {};
}

}  // namespace

std::string namespace_identifiers(const nvme_id_ns& ns, std::span<const std::byte> descriptors) {
  std::string text;
  for (const IdentifierType& type : {kUuid, kNguid, kEui64}) {
    add(text, type, find(type, descriptors));
  }
  if (!text.empty()) return text;
  add(text, kNguid, std::as_bytes(std::span(ns.nguid)));
  add(text, kEui64, std::as_bytes(std::span(ns.eui64)));
  return text;
}

uint64_t block_bytes(const nvme_id_ns& ns) {
  const unsigned exponent = format_of(ns).ds;
  return exponent < 64 ? uint64_t{1} << exponent : 0;
}

absl::StatusOr<NamespaceInfo> parse_namespace(uint32_t nsid, const nvme_id_ns& ns,
                                              std::span<const std::byte> descriptors) {
  const uint64_t blocks = le(ns.nsze);
  if (blocks == 0) return absl::NotFoundError(absl::StrCat("namespace ", nsid, " is inactive"));
  const nvme_lbaf& format = format_of(ns);
  if (format.ds < kSmallestBlock || format.ds > kLargestBlock || le(format.ms) != 0) {
    return absl::UnimplementedError(
        absl::StrCat("namespace ", nsid, " has blocks of 2^", format.ds, " bytes and ",
                     le(format.ms), " of metadata; only plain blocks of 512 B to 1 MiB will do"));
  }
  if (blocks > uint64_t{INT64_MAX} >> format.ds) {
    return absl::UnimplementedError(absl::StrCat("namespace ", nsid, " claims ", blocks,
                                                 " blocks of 2^", format.ds,
                                                 " bytes, more than 8 EiB"));
  }
  return NamespaceInfo{.nsid = nsid,
                       .blocks = blocks,
                       .block_size = uint32_t{1} << format.ds,
                       .identifiers = namespace_identifiers(ns, descriptors)};
}

absl::Status check_same(const NamespaceInfo& was, const NamespaceInfo& is) {
  if (was == is) return absl::OkStatus();
  const auto shape = [](const NamespaceInfo& ns) {
    return absl::StrCat(ns.blocks, " blocks of ", ns.block_size, " bytes");
  };
  const auto name = [](const NamespaceInfo& ns) {
    return ns.identifiers.empty() ? std::string("without identifiers") : ns.identifiers;
  };
  const bool other = was.identifiers != is.identifiers;
  return absl::AbortedError(absl::StrCat("namespace ", was.nsid, " was replaced: it is ",
                                         other ? name(is) : shape(is), ", it was ",
                                         other ? name(was) : shape(was)));
}

}  // namespace mrpool::nvme::host
