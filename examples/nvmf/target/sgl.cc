#include "examples/nvmf/target/sgl.h"

#include "examples/nvmf/target/limits.h"

namespace mrpool::nvmf_target {

using nvme::SglDescriptor;
using nvme::SglSubtype;
using nvme::SglType;
using nvme::Status;
using nvme::with_dnr;

namespace {

constexpr size_t kSglOffset = offsetof(nvme::Sqe, sgl);
static_assert(kSglOffset == offsetof(nvme::ConnectCommand, sgl));

bool is_keyed(const SglDescriptor& d) {
  return d.type() == SglType::kKeyedDataBlock &&
         (d.subtype() == SglSubtype::kAddress || d.subtype() == SglSubtype::kInvalidate);
}

// Adds `d` to the sum. A response can invalidate only one key: the first that requests it.
void add(const SglDescriptor& d, DataBuffers& data) {
  data.length += d.keyed_length();
  if (d.subtype() == SglSubtype::kInvalidate && !data.invalidate.has_value()) {
    data.invalidate = d.key();
  }
}

Status parse_in_capsule(std::span<const std::byte> behind, const SglDescriptor& d,
                        DataBuffers& data) {
  const uint64_t offset = d.address;
  if (offset > behind.size()) return with_dnr(Status::kSglOffset);
  if (d.length() > behind.size() - offset) return with_dnr(Status::kSglDataLength);
  data.in_capsule = behind.subspan(size_t(offset), d.length());
  data.length = d.length();
  return Status::kSuccess;
}

Status parse_segment(std::span<const std::byte> behind, const SglDescriptor& d, DataBuffers& data) {
  const uint64_t offset = d.address;
  const uint32_t bytes = d.length();
  if (bytes == 0 || bytes % sizeof(SglDescriptor) != 0) return with_dnr(Status::kInvalidSglSegment);
  const uint32_t count = bytes / sizeof(SglDescriptor);
  if (count > kMaxSglDescriptors) return with_dnr(Status::kInvalidSglCount);
  if (offset > behind.size() || bytes > behind.size() - offset) {
    return with_dnr(Status::kInvalidSglSegment);
  }
  data.descriptors = behind.data() + offset;
  for (uint32_t i = 0; i < count; ++i) {
    const auto descriptor =
        nvme::read_struct<SglDescriptor>(behind.subspan(size_t(offset) + i * sizeof d));
    if (!is_keyed(descriptor)) return with_dnr(Status::kSglType);
    add(descriptor, data);
  }
  data.count = count;
  return Status::kSuccess;
}

}  // namespace

RemoteBuffer DataBuffers::remote(uint32_t index) const {
  return nvme::read_struct<SglDescriptor>(
             {descriptors + index * sizeof(SglDescriptor), sizeof(SglDescriptor)})
      .remote();
}

Status parse_sgl(std::span<const std::byte> capsule, DataBuffers& data) {
  data = {};
  const auto d = nvme::read_struct<SglDescriptor>(capsule.subspan(kSglOffset));
  const std::span behind = capsule.subspan(sizeof(nvme::Sqe));
  if (is_keyed(d)) {
    if (d.keyed_length() == 0 && d.subtype() == SglSubtype::kAddress) return Status::kSuccess;
    add(d, data);
    data.descriptors = capsule.data() + kSglOffset;
    data.count = 1;
    return Status::kSuccess;
  }
  // Commands without data may leave the field as it is, all zeroes (Property Get: reserved).
  if (d.identifier == 0 && d.length() == 0) return Status::kSuccess;
  if (d.type() == SglType::kDataBlock && d.subtype() == SglSubtype::kOffset) {
    return parse_in_capsule(behind, d, data);
  }
  if (d.type() == SglType::kLastSegment && d.subtype() == SglSubtype::kOffset) {
    return parse_segment(behind, d, data);
  }
  return with_dnr(Status::kSglType);
}

}  // namespace mrpool::nvmf_target
