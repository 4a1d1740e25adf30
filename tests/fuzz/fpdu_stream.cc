// A byte stream of FPDUs, cut at arbitrary points. For every cut, the receiver announces the same
// segments with the same payload, or fails at the same place. Nothing of a small FPDU is placed
// before its CRC was checked.
#include <algorithm>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "transport/uiwarp/receiver.h"

namespace mrpool::uiwarp {
namespace {

struct Segment {
  uint32_t control = 0;
  std::vector<std::byte> payload;
  bool ended = false;
  friend bool operator==(const Segment&, const Segment&) = default;
};

// Takes every second payload directly, the others through place().
class Recorder final : public SegmentHandler {
 public:
  // Every so many segments one has to wait; 0: none.
  explicit Recorder(bool direct, int wait_before = 0)
      : direct_(direct), wait_before_(wait_before) {}

  bool begin(const SegmentHeader& header, size_t payload) override {
    FUZZ_CHECK(payload <= kMaxUlpduBytes);
    if (!segments.empty()) FUZZ_CHECK(segments.back().ended);
    waiting_ = wait_before_ > 0 && ++begun_ % wait_before_ == 0;
    if (waiting_) return false;
    Segment segment;
    segment.control = static_cast<uint32_t>(header.kind) | (header.tagged ? 0x100u : 0) |
                      (header.last ? 0x200u : 0);
    segment.payload.resize(payload);
    segments.push_back(std::move(segment));
    return true;
  }
  bool waits() const override { return waiting_; }
  size_t landing(size_t offset, size_t bytes, std::span<iovec> out) override {
    std::vector<std::byte>& payload = segments.back().payload;
    FUZZ_CHECK(offset <= payload.size() && bytes <= payload.size() - offset);
    if (!direct_ || out.empty()) return 0;
    out[0] = {payload.data() + offset, bytes};
    return 1;
  }
  bool place(size_t offset, const std::byte* from, size_t bytes) override {
    std::vector<std::byte>& payload = segments.back().payload;
    FUZZ_CHECK(offset <= payload.size() && bytes <= payload.size() - offset);
    std::copy_n(from, bytes, payload.begin() + static_cast<ptrdiff_t>(offset));
    return true;
  }
  bool end() override {
    FUZZ_CHECK(!segments.back().ended);
    segments.back().ended = true;
    return true;
  }
  bool empty_fpdu() override {
    ++empty;
    return true;
  }
  void violation(const TerminateCode&) override { ++violations; }

  std::vector<Segment> segments;
  int empty = 0;
  int violations = 0;

 private:
  const bool direct_;
  const int wait_before_;
  int begun_ = 0;
  bool waiting_ = false;
};

// Feeds `stream` in pieces of the sizes `cuts` names in turn.
void feed(Recorder& recorder, bool crc, std::span<const std::byte> stream,
          std::span<const std::byte> cuts) {
  Receiver receiver(recorder);
  receiver.set_crc(crc);
  static std::vector<std::byte> scratch(64 * 1024);
  std::array<iovec, Receiver::kMaxPieces> pieces;
  for (size_t cut = 0; !stream.empty(); ++cut) {
    const size_t most =
        cuts.empty() ? stream.size() : 1 + std::to_integer<size_t>(cuts[cut % cuts.size()]) * 5;
    const std::span<const iovec> planned(pieces.data(), receiver.plan(scratch, pieces));
    size_t copied = 0;
    for (const iovec& piece : planned) {
      const size_t n = std::min({piece.iov_len, most - copied, stream.size()});
      std::memcpy(piece.iov_base, stream.data(), n);
      stream = stream.subspan(n);
      copied += n;
      if (copied == most) break;
    }
    FUZZ_CHECK(copied > 0);
    bool good = receiver.commit(scratch, planned, copied);
    while (good && receiver.holds()) good = receiver.resume();
    if (!good) {
      FUZZ_CHECK(recorder.violations == 1);
      return;
    }
  }
}

}  // namespace
}  // namespace mrpool::uiwarp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mrpool::uiwarp::Recorder;
  mrpool::fuzz::Input input(data, size);
  const uint8_t choice = input.take<uint8_t>();
  const auto cuts = input.take_bytes(choice >> 4);
  const auto stream = input.rest();
  const bool crc = (choice & 1) != 0;
  Recorder whole(false), cut((choice & 2) != 0, (choice & 12) != 0 ? 1 + (choice >> 2 & 3) : 0);
  mrpool::uiwarp::feed(whole, crc, stream, {});
  mrpool::uiwarp::feed(cut, crc, stream, cuts);
  FUZZ_CHECK(whole.violations == cut.violations && whole.empty == cut.empty);
  // A segment that was begun when the stream broke or ended may have been begun in one run only.
  const auto ended = [](const Recorder& recorder) {
    std::vector<mrpool::uiwarp::Segment> segments;
    for (const auto& segment : recorder.segments) {
      if (segment.ended) segments.push_back(segment);
    }
    return segments;
  };
  FUZZ_CHECK(ended(whole) == ended(cut));
  return 0;
}
