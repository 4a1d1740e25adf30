#include "tests/sim/nvmf_contender.h"

#include <algorithm>

#include "tests/sim/blocks.h"
#include "tests/sim/storage.h"

namespace mrpool::sim {

using nvme::IoOpcode;
using nvme::Status;
using nvme::host::Outcome;

namespace {

constexpr Status kEndings[] = {Status::kSuccess, Status::kCompareFailure, Status::kFailedFused,
                               Status::kUnrecoveredRead, Status::kWriteFault};

}  // namespace

void LockBlock::replaced(uint32_t value) {
  simulation_.moved("compare and write");
  if (!replaced_.insert(value).second) {
    simulation_.violate("a Compare and Write succeeded twice on value " + std::to_string(value));
  }
}

void LockBlock::check(std::span<const std::byte> block) const {
  uint32_t value = 0;
  if (!read_stamp(block, 0, value)) simulation_.violate("the lock's block is torn");
  if (replaced_.contains(value)) {
    simulation_.violate("the lock has value " + std::to_string(value) + ", which was replaced");
  }
}

void LockBlock::check_copy(std::span<const std::byte> block) const {
  uint32_t value = 0;
  if (!read_stamp(block, 0, value) || value > last_) {
    simulation_.violate("a copy of the lock is not what the lock was");
  }
}

struct Contender::Part final : nvme::host::Request {
  explicit Part(Contender& contender)
      : Request([](Request& self, const Outcome& outcome) {
          auto& part = static_cast<Part&>(self);
          part.status = outcome.status;
          part.owner.ended();
        }),
        owner(contender) {}
  Contender& owner;
  Status status = Status::kSuccess;
};

Contender::Contender(Simulation& simulation, LockBlock& lock, Pd& pd, uint32_t number)
    : simulation_(simulation),
      lock_(lock),
      copy_(1 + number),
      buffer_(*load::Buffer::create(pd, guarded(2 * kBlockBytes))),
      compare_(std::make_unique<Part>(*this)),
      write_(std::make_unique<Part>(*this)) {
  std::ranges::fill(memory(), kIdle);
}

Contender::~Contender() = default;

std::span<std::byte> Contender::memory() const {
  return buffer_.bytes().first(guarded(2 * kBlockBytes));
}
std::span<std::byte> Contender::expected() const { return memory().subspan(kGuard, kBlockBytes); }
std::span<std::byte> Contender::wanted() const {
  return memory().subspan(kGuard + kBlockBytes, kBlockBytes);
}

void Contender::step(nvme::host::Session* session, bool may_start) {
  check_untouched(simulation_, memory(), idle() ? 0 : 2 * kBlockBytes);
  if (!idle() || !may_start) return;
  nvme::host::Queue& queue = session->queue(simulation_.below(session->queues()));
  if (queue.options().depth >= 2) start(queue);
}

Contender::Kind Contender::choose() {
  if (!known_) return Kind::kRead;
  if (!simulation_.chance(150)) return Kind::kCompareAndWrite;
  if (copied_) return Kind::kReadCopy;
  return simulation_.chance(500) ? Kind::kCopy : Kind::kRead;
}

void Contender::prepare(Part& part, IoOpcode opcode, uint32_t block, size_t at) {
  part.command = {};
  part.command.opcode = static_cast<uint8_t>(opcode);
  part.command.nsid = uint32_t{LockBlock::kNsid};
  part.command.set_range(block, 1);
  part.data = buffer_.sge(kGuard + at, kBlockBytes);
}

void Contender::start(nvme::host::Queue& queue) {
  kind_ = choose();
  under_way_ = kind_ == Kind::kCompareAndWrite ? 2 : 1;
  switch (kind_) {
    case Kind::kRead:
      prepare(*compare_, IoOpcode::kRead, 0, 0);
      return queue.submit(*compare_);
    case Kind::kReadCopy:
      prepare(*compare_, IoOpcode::kRead, copy_, 0);
      return queue.submit(*compare_);
    case Kind::kCopy: {
      prepare(*compare_, IoOpcode::kCopy, copy_, 0);  // one range: the lock
      compare_->data.length = sizeof(nvme_copy_range);
      std::ranges::fill(expected(), std::byte{});
      return queue.submit(*compare_);
    }
    case Kind::kCompareAndWrite:
      new_value_ = lock_.next_value();
      stamp(expected(), 0, value_);
      stamp(wanted(), 0, new_value_);
      prepare(*compare_, IoOpcode::kCompare, 0, 0);
      prepare(*write_, IoOpcode::kWrite, 0, kBlockBytes);
      return queue.submit_fused(*compare_, *write_);
  }
}

void Contender::ended() {
  if (--under_way_ != 0) return;
  const bool good = nvme::ok(compare_->status);
  switch (kind_) {
    case Kind::kRead:
      look(compare_->status);
      break;
    case Kind::kReadCopy:
      if (good) lock_.check_copy(expected());
      copied_ = false;
      break;
    case Kind::kCopy:
      if (good) simulation_.moved("copied");
      copied_ = good;
      break;
    case Kind::kCompareAndWrite:
      judge();
      break;
  }
  std::ranges::fill(memory(), kIdle);
}

void Contender::look(Status read) {
  known_ = nvme::ok(read);
  if (known_ && !read_stamp(expected(), 0, value_)) {
    simulation_.violate("a read brought a torn lock");
  }
}

// The Write's status shows whether the block was changed. Without one of the controller, or after
// an error of the store, that is unknown.
void Contender::judge() {
  const Status compare = nvme::code(compare_->status);
  const Status write = nvme::code(write_->status);
  known_ = false;
  if (write == Status::kSuccess) {
    if (compare != Status::kSuccess) simulation_.violate("a Write succeeded without its Compare");
    lock_.replaced(value_);
    known_ = true;
    value_ = new_value_;
  } else if (compare == Status::kCompareFailure) {
    simulation_.moved("compare failed");
    if (write != Status::kFailedFused) simulation_.violate("a Write after a failed Compare");
  }
  for (const Status status : {compare, write}) {
    if (std::ranges::find(kEndings, status) != std::end(kEndings)) continue;
    if (nvme::host::ended_here(status)) continue;
    simulation_.violate("a Compare and Write ended by " + nvme::to_string(status));
  }
}

std::string Contender::state() const {
  if (idle()) return {};
  constexpr const char* kKinds[] = {"read", "compare and write", "copy", "read copy"};
  return std::string("; lock: ") + kKinds[static_cast<int>(kind_)] + ", value " +
         std::to_string(value_);
}

}  // namespace mrpool::sim
