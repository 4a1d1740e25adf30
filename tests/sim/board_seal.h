// Sealed blocks of a client of BoardWorld. They are written to the board with tuples that are
// generated or checked in transfer, and read back with every tuple checked. Then one bit flips, and
// they are read again.
//
// The pools outlive the connections; the RwContext belongs to one connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/mr_pool.h"
#include "mrpool/rw.h"
#include "tests/sim/board.h"
#include "tests/sim/board_world.h"

namespace mrpool::sim {

class BoardSeal {
 public:
  BoardSeal(BoardWorld& world, Pd& pd);

  // The requirements on the Qp's send queue.
  static RwQueueNeeds needs(const DeviceCaps& caps);
  void open(Qp& qp);
  // Call it in the Qp's on_disconnected.
  void close() { context_.reset(); }
  void check_resources() const;

  // Seals blocks with the content `number` in the client's part of the board. `done` runs when all
  // was checked, and never if the connection ends before.
  void start(uint64_t number, const BoardWelcome& welcome, std::function<void()> done);

 private:
  enum class Stage : uint8_t { kWrite, kRead, kReadSpoilt };
  struct Memory {
    std::array<uint64_t, kSealWords> words{};
    std::array<std::byte, kSealBlocks * kTupleBytes> tuples{};
  };
  struct Operation final : RwOperation {
    explicit Operation(BoardSeal& seal) : RwOperation(to_method<&Operation::ended>), owner(seal) {}
    void ended(WcStatus status) { owner.finished(status); }
    BoardSeal& owner;
  };

  void begin(Stage stage);
  void finished(WcStatus status);
  void read_back(WcStatus status);
  void check_blocks();
  void spoil();
  void describe_local();
  Sge sge(const void* part, size_t size) const {
    return mr_->sge(
        size_t(static_cast<const std::byte*>(part) - reinterpret_cast<const std::byte*>(&memory_)),
        uint32_t(size));
  }

  BoardWorld& world_;
  Memory memory_;
  std::unique_ptr<Mr> mr_;
  std::unique_ptr<MrPool> plain_;
  std::unique_ptr<MrPool> with_integrity_;
  std::unique_ptr<RwContext> context_;
  Operation operation_{*this};
  std::function<void()> done_;
  BoardWelcome welcome_;
  IntegrityDomain seal_;  // of the blocks on the board
  std::vector<Sge> data_;
  std::vector<Sge> tuples_;
  ProtectedBuffer local_;
  uint64_t number_ = 0;
  uint32_t spoilt_ = 0;  // the block with the bit that flipped
  Stage stage_ = Stage::kWrite;
};

}  // namespace mrpool::sim
