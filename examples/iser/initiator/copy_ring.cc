#include "examples/iser/initiator/copy_ring.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::iser {

CopyRing::Chunk::Chunk(const Sge& room)
    : Transfer([](Transfer& self, const absl::Status& status) {
        static_cast<Chunk&>(self).ended(status);
      }),
      room_(room) {}

void CopyRing::Chunk::ended(const absl::Status& status) {
  busy_ = false;
  status_ = status;
  if (waiter_) std::exchange(waiter_, nullptr)();
}

absl::StatusOr<std::unique_ptr<CopyRing>> CopyRing::create(Client& client, const Unit& unit,
                                                           const load::CopyPace& pace) {
  const size_t bytes = size_t{pace.chunk} * pace.depth + UnitReader::kBuffer;
  auto memory = load::Buffer::create(client.pd(), bytes);
  if (!memory.ok()) return memory.status();
  return std::unique_ptr<CopyRing>(new CopyRing(client, unit, *std::move(memory), pace));
}

CopyRing::CopyRing(Client& client, const Unit& unit, load::Buffer memory,
                   const load::CopyPace& pace)
    : client_(client),
      block_size_(unit.capacity.block_size),
      memory_(std::move(memory)),
      commands_(client.session(), client.reactor(), unit, client.lun(),
                memory_.sge(size_t{pace.chunk} * pace.depth, UnitReader::kBuffer)) {
  for (uint32_t i = 0; i < pace.depth; ++i) {
    chunks_.push_back(std::make_unique<Chunk>(memory_.sge(size_t{i} * pace.chunk, pace.chunk)));
  }
}

void CopyRing::submit(Chunk& chunk, bool write, uint64_t offset) {
  Sge blocks = chunk.room_;
  blocks.length = (chunk.bytes + block_size_ - 1) / block_size_ * block_size_;
  chunk.offset_ = offset;
  chunk.busy_ = true;
  commands_.submit(chunk, write, offset, blocks);
}

absl::Status CopyRing::wait(Chunk& chunk) {
  if (chunk.busy_) {
    client_.wait([&](const std::function<void()>& done) { chunk.waiter_ = done; });
  }
  if (chunk.status_.ok()) return chunk.status_;
  return {
      chunk.status_.code(),
      absl::StrCat(chunk.direction == DataDirection::kOut ? "write" : "read", " of ",
                   chunk.data.length, " bytes at ", chunk.offset_, ": ", chunk.status_.message())};
}

absl::Status CopyRing::drain() {
  absl::Status first;
  for (const auto& chunk : chunks_) first.Update(wait(*chunk));
  return first;
}

}  // namespace mrpool::iser
