#include "tests/sim/board_seal.h"

#include <algorithm>
#include <string>
#include <utility>

namespace mrpool::sim {
namespace {

constexpr RwLimits kLimits{
    .max_operations = 1, .max_transfer = 4096, .max_segments = 1, .integrity = true};

template <typename T>
T take(BoardWorld& world, absl::StatusOr<T> made) {
  if (!made.ok()) world.violate(made.status().ToString());
  return std::move(*made);
}

}  // namespace

RwQueueNeeds BoardSeal::needs(const DeviceCaps& caps) { return rw_queue_needs(caps, kLimits); }

BoardSeal::BoardSeal(BoardWorld& world, Pd& pd) : world_(world) {
  mr_ = take(world, pd.reg_mr(std::as_writable_bytes(std::span(&memory_, 1)), Access::kLocalWrite));
  const RwQueueNeeds needed = needs(pd.caps());
  plain_ = take(world, MrPool::create(pd, {.count = 1, .access = needed.pool_access}));
  with_integrity_ = take(
      world, MrPool::create(pd, {.count = 1,
                                 .type = MrPoolType::kIntegrity,
                                 .max_segments = 2,
                                 .access = needed.integrity_access,
                                 .integrity = {.blocks = kSealBlocks, .protection_segments = 1}}));
}

void BoardSeal::open(Qp& qp) {
  context_ = take(world_, RwContext::create(qp, plain_.get(), kLimits, with_integrity_.get()));
}

void BoardSeal::check_resources() const {
  if (with_integrity_->stats().in_use != 0) world_.violate("an integrity MR was not given back");
}

void BoardSeal::start(uint64_t number, const BoardWelcome& welcome, std::function<void()> done) {
  number_ = number;
  welcome_ = welcome;
  done_ = std::move(done);
  seal_ = {.protection = true,
           .guard_seed = static_cast<uint16_t>(world_.chance(500) ? 0 : 0xffff),
           .app_tag = static_cast<uint16_t>(welcome.note),
           .ref_tag = static_cast<uint32_t>(number)};
  for (size_t i = 0; i < kSealWords; ++i) memory_.words[i] = number + i;
  begin(Stage::kWrite);
}

// The blocks in two pieces, and with tuples of their own or without.
void BoardSeal::describe_local() {
  const auto first = static_cast<uint32_t>(1 + world_.below(kSealWords * 8 - 1));
  data_ = {sge(memory_.words.data(), first),
           sge(reinterpret_cast<const std::byte*>(memory_.words.data()) + first,
               kSealWords * 8 - first)};
  tuples_ = {sge(memory_.tuples.data(), memory_.tuples.size())};
  local_ = {.data = data_, .attributes = {.block_size = kSealBlock, .wire = seal_}};
  if (world_.chance(500)) {
    local_.protection = tuples_;
    local_.attributes.memory = seal_;
    // Another seed: every guard is generated again in transfer.
    if (world_.chance(500)) local_.attributes.memory.guard_seed ^= 0xffff;
  }
}

void BoardSeal::begin(Stage stage) {
  stage_ = stage;
  describe_local();
  const bool write = stage == Stage::kWrite;
  if (!write) memory_ = {};
  if (write && local_.attributes.memory.protection) {
    generate_protection(local_.attributes.memory, kSealBlock, data_, tuples_);
  }
  const uint64_t at =
      welcome_.board.value + offsetof(BoardMemory, seals) + welcome_.note * sizeof(BoardSealed);
  const PostStatus started =
      context_->start(operation_, write ? RwDirection::kWrite : RwDirection::kRead, local_,
                      {RemoteAddr{at}, sizeof(BoardSealed), welcome_.key});
  if (started != PostStatus::kOk && started != PostStatus::kNotConnected) {
    world_.violate("sealed blocks were refused: " + std::string(to_string(started)));
  }
}

void BoardSeal::finished(WcStatus status) {
  using enum WcStatus;
  if (status == kLocalLength || status == kLocalProtection || status == kBind) {
    world_.violate("sealed blocks failed here: " + std::string(to_string(status)));
  }
  if (status != kSuccess && status != kIntegrity) return;  // the connection ends
  if (stage_ != Stage::kWrite) return read_back(status);
  if (status != kSuccess) world_.violate("blocks left with a wrong tuple");
  if (world_.planted(Plant::kBitFlip)) spoil();
  begin(Stage::kRead);
}

void BoardSeal::read_back(WcStatus status) {
  const std::optional<IntegrityError> error = operation_.integrity_error();
  if (stage_ == Stage::kRead) {
    if (status != WcStatus::kSuccess) world_.violate("sealed blocks: " + to_string(*error));
    check_blocks();
    spoil();
    return begin(Stage::kReadSpoilt);
  }
  if (spoilt_ == kSealBlocks) {
    if (status != WcStatus::kSuccess) world_.violate("sealed blocks: " + to_string(*error));
  } else if (status != WcStatus::kIntegrity || error->block != spoilt_) {
    world_.violate("a bit flipped in block " + std::to_string(spoilt_) + " and " +
                   (error ? to_string(*error) : "nothing") + " was found");
  }
  std::exchange(done_, nullptr)();
}

void BoardSeal::check_blocks() {
  for (size_t i = 0; i < kSealWords; ++i) {
    if (memory_.words[i] != number_ + i) world_.violate("a sealed block is not what was written");
  }
  if (!local_.attributes.memory.protection) return;
  const auto made = memory_.tuples;
  generate_protection(local_.attributes.memory, kSealBlock, data_, tuples_);
  if (made != memory_.tuples) world_.violate("a tuple is not that of its block");
}

// Flips a bit of what lies on the board, where that is still this connection's.
void BoardSeal::spoil() {
  BoardSealed* const there = world_.sealed(welcome_.note, welcome_.token);
  spoilt_ = kSealBlocks;
  if (there == nullptr) return;
  const uint64_t bit = world_.below(sizeof(BoardSealed) * 8);
  there->bytes[bit / 8] ^= std::byte(1u << bit % 8);
  spoilt_ = static_cast<uint32_t>(bit / 8 / (kSealBlock + kTupleBytes));
}

}  // namespace mrpool::sim
