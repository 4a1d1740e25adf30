// Parameter lists of EXTENDED COPY, for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/third_party_copy.h"

namespace mrpool::scsi {

struct CopyListOptions {
  uint8_t id = 1;
  uint8_t usage = 0;
};

// Units by their NAA identifiers; tests spoil it afterwards.
class CopyListBuilder {
 public:
  using Options = CopyListOptions;
  explicit CopyListBuilder(const Options& options = {}) : bytes_(kCopyHeaderSize) {
    bytes_[0] = options.id;
    bytes_[1] = uint8_t(options.usage << 3);
  }

  // A designator of any kind. Before the segments.
  CopyListBuilder& unit(uint8_t code_set, uint8_t type, std::span<const uint8_t> designator) {
    const size_t at = bytes_.size();
    bytes_.resize(at + kCopyUnitSize);
    bytes_[at] = 0xe4;
    bytes_[at + 4] = code_set;
    bytes_[at + 5] = type;
    bytes_[at + 7] = uint8_t(designator.size());
    std::ranges::copy(designator.first(std::min<size_t>(designator.size(), 20)),
                      bytes_.begin() + ptrdiff_t(at + 8));
    be::store16(&bytes_[2], uint16_t(be::load16(&bytes_[2]) + kCopyUnitSize));
    return *this;
  }
  CopyListBuilder& unit(std::span<const uint8_t> naa) { return unit(1, 3, naa); }
  CopyListBuilder& segment(const CopySegment& segment) {
    const size_t at = bytes_.size();
    bytes_.resize(at + kCopySegmentSize);
    bytes_[at] = 0x02;
    bytes_[at + 1] = segment.destination_blocks ? 2 : 0;
    be::store16(&bytes_[at + 2], kCopySegmentSize - 4);
    be::store16(&bytes_[at + 4], segment.source);
    be::store16(&bytes_[at + 6], segment.destination);
    be::store16(&bytes_[at + 10], segment.blocks);
    be::store64(&bytes_[at + 12], segment.source_lba);
    be::store64(&bytes_[at + 20], segment.destination_lba);
    be::store32(&bytes_[8], uint32_t(be::load32(&bytes_[8]) + kCopySegmentSize));
    return *this;
  }

  std::vector<uint8_t>& bytes() { return bytes_; }
  std::string text() const { return {bytes_.begin(), bytes_.end()}; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace mrpool::scsi
