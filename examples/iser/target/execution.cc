#include "examples/iser/target/execution.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace mrpool::iser_target {

using scsi::Plan;
using scsi::Sense;
using scsi::Status;

namespace {

constexpr uint64_t kScratch = 64 << 10;
constexpr size_t kAlignment = 4096;  // the alignment that direct files may require

bool writes(Plan::Kind kind) {
  switch (kind) {
    case Plan::Kind::kWrite:
    case Plan::Kind::kWriteAndVerify:
    case Plan::Kind::kCompareAndWrite:
    case Plan::Kind::kWriteSame:
    case Plan::Kind::kZero:
    case Plan::Kind::kMark:
      return true;
    default:
      return false;  // blocks of a running UNMAP have no defined content
  }
}

}  // namespace

Sense sense_of(storage::Error error) {
  switch (error) {
    case storage::Error::kNone:
      return scsi::kNoSense;
    case storage::Error::kOutOfRange:
      return scsi::kLbaOutOfRange;
    case storage::Error::kMediaRead:
      return scsi::kReadError;
    case storage::Error::kMediaWrite:
      return scsi::kWriteError;
    case storage::Error::kNoSpace:
      return scsi::kSpaceAllocationFailed;
    case storage::Error::kReadOnly:
      return scsi::kWriteProtected;
    case storage::Error::kUnsupported:
      return scsi::kInvalidOpcode;
    case storage::Error::kNotReady:
      return scsi::kNotReady;
    case storage::Error::kInaccessible:
      return scsi::kPortUnavailable;
    case storage::Error::kMarkedBad:
      return scsi::kReadError;
    case storage::Error::kMarksFull:
      return scsi::kNoDefectSpare;
    case storage::Error::kMarkNotKept:
      return scsi::kDefectListUpdateFailure;
    case storage::Error::kInternal:
      return scsi::kInternalFailure;
  }
  return scsi::kInternalFailure;
}

void Execution::Free::operator()(void* memory) const { std::free(memory); }

void Execution::admitted() {
  if (given_up_) step_ = Step::kEnd;
  if (run()) done_(*this);
}

void Execution::stored() {
  submitted_ = false;
  if (clears_marks_ && !change_marks()) [[unlikely]]
    return;
  advance();
  if (given_up_) step_ = Step::kEnd;
  if (run()) done_(*this);
}

// The late requests may have ended; checks again.
void Execution::passed() {
  if (!entered_) {
    if (enter()) done_(*this);
  } else if (hand_over()) {
    stored();
  }
}

Execution::Execution(Done done) : done_(done) {}
Execution::~Execution() = default;

bool Execution::start(Store& store, const Plan& plan, std::span<const iovec> data,
                      std::span<const scsi::Range> ranges) {
  store_ = &store;
  plan_ = plan;
  data_ = data;
  ranges_ = ranges;
  status_ = Status::kGood;
  sense_ = scsi::kNoSense;
  done_bytes_ = 0;
  range_ = 0;
  entered_ = gated_ = submitted_ = given_up_ = is_late_ = clears_marks_ = false;
  prepare();
  return enter();
}

bool Execution::enter() {
  const Plan::Kind kind = plan_.kind;
  const uint64_t size = store_->block_size;
  // Waits before the gate, so that other commands can pass it. UNMAP has no blocks yet; a flush
  // never has any.
  if (store_->late.any() && kind != Plan::Kind::kUnmap && kind != Plan::Kind::kFlush &&
      !store_->late.pass(behind_, plan_.lba * size, plan_.blocks * size, store_->reactor)) {
    return false;
  }
  entered_ = true;
  gated_ = writes(kind);
  if (gated_) {
    pass_.offset = plan_.lba * size;
    pass_.length = plan_.blocks * size;
    pass_.exclusive = kind == Plan::Kind::kCompareAndWrite;
    if (!store_->gate.enter(pass_, store_->lane, store_->reactor)) return false;
  }
  return run();
}

bool Execution::take_back() {
  if (submitted_ || !store_ || !store_->late.cancel(behind_)) return false;
  finish();
  return true;
}

void Execution::give_up() {
  given_up_ = true;
  if (!submitted_) return;
  const bool changes = io_.op == storage::Op::kWrite || io_.op == storage::Op::kWriteZeroes;
  if (!changes) return;
  is_late_ = true;
  late_.offset = io_.offset;
  late_.length = io_.length;
  store_->late.add(late_);
  // The late request itself locks its blocks; staying in the gate would block every COMPARE AND
  // WRITE.
  leave_gate();
}

void Execution::prepare() {
  switch (plan_.kind) {
    case Plan::Kind::kVerify:
      step_ = Step::kReadBack;
      break;
    case Plan::Kind::kCompareAndWrite:
      step_ = Step::kCompare;
      plan_.compare = true;
      break;
    case Plan::Kind::kWriteSame:
      // Zeroes need no data transfer, and only zeroes may be deallocated.
      if (data_is_zero()) {
        plan_.kind = Plan::Kind::kZero;
        step_ = Step::kIo;
      } else {
        step_ = Step::kPattern;
      }
      break;
    case Plan::Kind::kUnmap:
      step_ = Step::kRanges;
      break;
    case Plan::Kind::kMark:
      step_ = Step::kMark;
      break;
    default:
      step_ = Step::kIo;
      break;
  }
}

bool Execution::run() {
  const uint64_t offset = plan_.lba * store_->block_size;
  const uint64_t length = plan_.blocks * store_->block_size;
  while (true) {
    bool finished = true;
    switch (step_) {
      case Step::kIo:
        switch (plan_.kind) {
          case Plan::Kind::kRead:
            finished = submit(storage::Op::kRead, offset, length, data_);
            break;
          case Plan::Kind::kZero:
            finished = submit(storage::Op::kWriteZeroes, offset, length, {});
            break;
          case Plan::Kind::kFlush:
            finished = submit(storage::Op::kFlush, 0, 0, {});
            break;
          default:
            finished = submit(storage::Op::kWrite, offset, length, data_);
            break;
        }
        break;
      case Step::kReadBack:
      case Step::kCompare: {
        use_scratch(chunk(length));
        finished = submit(storage::Op::kRead, offset + done_bytes_, scratch_vector_.iov_len,
                          {&scratch_vector_, 1});
        break;
      }
      case Step::kWriteHalf:
        finished = submit(storage::Op::kWrite, offset, length, slice(length, length));
        break;
      case Step::kPattern:
        use_scratch(chunk(length));
        if (done_bytes_ == 0) fill_pattern();
        finished = submit(storage::Op::kWrite, offset + done_bytes_, scratch_vector_.iov_len,
                          {&scratch_vector_, 1});
        break;
      case Step::kRanges: {
        const scsi::Range& range = ranges_[range_];
        io_.deallocate = true;
        finished = submit(storage::Op::kWriteZeroes, range.lba * store_->block_size,
                          range.blocks * store_->block_size, {});
        break;
      }
      case Step::kMark:  // a write, for who looks at the request meanwhile
        finished = submit(storage::Op::kWriteZeroes, offset, length, {});
        break;
      case Step::kEnd:
        finish();
        return true;
    }
    if (!finished) return false;
    advance();
  }
}

bool Execution::submit(storage::Op op, uint64_t offset, uint64_t length,
                       std::span<const iovec> buffers) {
  io_.op = op;
  io_.fua = plan_.fua && (op == storage::Op::kWrite || op == storage::Op::kWriteZeroes);
  if (op == storage::Op::kWriteZeroes && plan_.kind == Plan::Kind::kZero) {
    io_.deallocate = plan_.deallocate;
  }
  io_.offset = offset;
  io_.length = length;
  io_.buffers = buffers;
  io_.error = storage::Error::kNone;
  return hand_over();
}

bool Execution::hand_over() {
  if (store_->late.any() && io_.op != storage::Op::kFlush &&
      !store_->late.pass(behind_, io_.offset, io_.length, store_->reactor)) {
    return false;
  }
  if (step_ == Step::kMark || store_->volume.bad_blocks().any()) [[unlikely]]
    return hand_over_marked();
  submitted_ = !store_->channel.submit(io_);
  return !submitted_;
}

bool Execution::hand_over_marked() {
  if (step_ == Step::kMark) return change_marks();
  const auto marked = io_.op == storage::Op::kFlush
                          ? std::nullopt
                          : store_->volume.bad_blocks().first_in(io_.offset, io_.length);
  if (marked && io_.op == storage::Op::kRead) {
    bad_at_ = *marked;
    io_.error = storage::Error::kMarkedBad;
    return true;
  }
  clears_marks_ = marked.has_value();
  submitted_ = !store_->channel.submit(io_);
  return !submitted_ && (!clears_marks_ || change_marks());
}

bool Execution::change_marks() {
  clears_marks_ = false;
  const bool sets = step_ == Step::kMark;
  if (!sets && io_.error != storage::Error::kNone) return true;
  auto change = [&volume = store_->volume, offset = io_.offset, length = io_.length, sets] {
    storage::BadBlocks& marks = volume.bad_blocks();
    return sets ? marks.mark(offset, length, volume.geometry()) : marks.clear(offset, length);
  };
  if (!store_->volume.bad_blocks().kept()) {
    io_.error = change();
    return true;
  }
  submitted_ = true;  // until stored()
  store_->change_marks(std::move(change), [this](storage::Error error) {
    io_.error = error;
    stored();
  });
  return false;
}

void Execution::advance() {
  if (io_.error != storage::Error::kNone) return fail(sense_of_request());
  const uint64_t length = plan_.blocks * store_->block_size;
  switch (step_) {
    case Step::kIo:
      step_ = plan_.kind == Plan::Kind::kWriteAndVerify ? Step::kReadBack : Step::kEnd;
      break;
    case Step::kReadBack:
    case Step::kCompare:
      if (plan_.compare && !compare_scratch()) return;
      done_bytes_ += scratch_vector_.iov_len;
      if (done_bytes_ == length) {
        step_ = step_ == Step::kCompare ? Step::kWriteHalf : Step::kEnd;
      }
      break;
    case Step::kPattern:
      done_bytes_ += scratch_vector_.iov_len;
      if (done_bytes_ == length) step_ = Step::kEnd;
      break;
    case Step::kRanges:
      if (++range_ == ranges_.size()) step_ = Step::kEnd;
      break;
    case Step::kWriteHalf:
    case Step::kMark:
    case Step::kEnd:
      step_ = Step::kEnd;
      break;
  }
}

Sense Execution::sense_of_request() const {
  Sense sense = sense_of(io_.error);
  if (io_.error == storage::Error::kMarkedBad) sense.information = bad_at_ / store_->block_size;
  return sense;
}

void Execution::fail(const Sense& sense) {
  status_ = Status::kCheckCondition;
  sense_ = sense;
  step_ = Step::kEnd;
}

bool Execution::compare_scratch() {
  uint64_t at = 0;
  for (const iovec& part : slice(done_bytes_, scratch_vector_.iov_len)) {
    const auto* expected = static_cast<const uint8_t*>(part.iov_base);
    const auto* found = static_cast<const uint8_t*>(scratch_.get()) + at;
    if (std::memcmp(expected, found, part.iov_len) != 0) {
      const auto [first, unused] = std::mismatch(expected, expected + part.iov_len, found);
      Sense sense = scsi::kMiscompare;
      sense.information = done_bytes_ + at + uint64_t(first - expected);
      fail(sense);
      return false;
    }
    at += part.iov_len;
  }
  return true;
}

std::span<const iovec> Execution::slice(uint64_t offset, uint64_t length) {
  size_t count = 0;
  for (const iovec& part : data_) {
    if (length == 0 || count == slice_.size()) break;
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const uint64_t take = std::min<uint64_t>(part.iov_len - offset, length);
    slice_[count++] = {static_cast<std::byte*>(part.iov_base) + offset, take};
    length -= take;
    offset = 0;
  }
  return {slice_.data(), count};
}

bool Execution::data_is_zero() const {
  return std::ranges::all_of(data_, [](const iovec& part) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    return std::all_of(bytes, bytes + part.iov_len, [](uint8_t byte) { return byte == 0; });
  });
}

void Execution::fill_pattern() {
  auto* to = static_cast<std::byte*>(scratch_.get());
  for (uint64_t at = 0; at < scratch_vector_.iov_len; at += store_->block_size) {
    uint64_t filled = 0;
    for (const iovec& part : slice(0, store_->block_size)) {
      std::memcpy(to + at + filled, part.iov_base, part.iov_len);
      filled += part.iov_len;
    }
  }
}

uint64_t Execution::chunk(uint64_t length) const {
  return std::min(length - done_bytes_, kScratch);
}

void Execution::use_scratch(uint64_t length) {
  if (scratch_ == nullptr) {
    const size_t size = (length + kAlignment - 1) / kAlignment * kAlignment;
    scratch_.reset(std::aligned_alloc(kAlignment, size));
    if (scratch_ == nullptr) std::abort();
  }
  scratch_vector_ = {scratch_.get(), length};
}

void Execution::finish() {
  scratch_.reset();
  leave_gate();
  if (std::exchange(is_late_, false)) store_->late.remove(late_);
  store_ = nullptr;
}

void Execution::leave_gate() {
  if (std::exchange(gated_, false)) store_->gate.leave(pass_, store_->lane);
}

}  // namespace mrpool::iser_target
