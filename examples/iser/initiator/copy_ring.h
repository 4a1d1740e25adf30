// The commands of a copy: several chunks at once, used in turn, so that their order is the order of
// the file.
//
// Thread safety: the reactor's thread. Ownership: the caller owns client and unit, which outlive
// it; the ring owns the memory. Destroy it after drain().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/iser/initiator/client.h"
#include "examples/iser/initiator/unit_commands.h"
#include "examples/load/buffer.h"
#include "examples/load/copy_line.h"

namespace mrpool::iser {

class CopyRing {
 public:
  // A part of the file.
  class Chunk final : public UnitCommands::Transfer {
   public:
    explicit Chunk(const Sge& room);
    std::span<std::byte> memory() const { return {room_.addr, room_.length}; }
    uint32_t bytes = 0;  // bytes of the file in it

   private:
    friend class CopyRing;
    void ended(const absl::Status& status);

    const Sge room_;
    uint64_t offset_ = 0;
    bool busy_ = false;
    absl::Status status_;
    std::function<void()> waiter_;
  };

  // `client` must be logged in.
  static absl::StatusOr<std::unique_ptr<CopyRing>> create(Client& client, const Unit& unit,
                                                          const load::CopyPace& pace);

  Chunk& operator[](uint64_t turn) { return *chunks_[turn % chunks_.size()]; }
  // Transfers the blocks that contain the chunk's bytes.
  void submit(Chunk& chunk, bool write, uint64_t offset);
  // Runs the loop until the chunk's command has ended; returns its result.
  absl::Status wait(Chunk& chunk);
  // Waits for all chunks; returns the first error.
  absl::Status drain();
  // Ends all waits before retries of commands.
  void hurry() { commands_.hurry(); }

 private:
  CopyRing(Client& client, const Unit& unit, load::Buffer memory, const load::CopyPace& pace);

  Client& client_;
  const uint32_t block_size_;
  load::Buffer memory_;
  UnitCommands commands_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

}  // namespace mrpool::iser
