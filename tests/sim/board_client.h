// A client of BoardWorld: one number and one note at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "mrpool/callback.h"
#include "mrpool/qp.h"
#include "tests/sim/board.h"
#include "tests/sim/board_seal.h"
#include "tests/sim/board_world.h"

namespace mrpool::sim {

class BoardClient final : public QpEvents {
 public:
  explicit BoardClient(BoardWorld& world);

  // Connects, and takes a number when it is idle; called once a step.
  void step();
  void kill();
  void finish() { finishing_ = true; }  // no more numbers
  bool idle() const { return phase_ != Phase::kUp || stage_ == Stage::kNothing; }
  void close();
  bool closed() const { return qp_ == nullptr; }
  void check_store() const { world_.check_board(); }
  void check_resources() const;
  std::string state() const;

  uint64_t completed = 0;

 private:
  enum class Phase : uint8_t { kDown, kConnecting, kUp, kEnding };
  enum class Stage : uint8_t { kNothing, kNumber, kLock, kRead, kUnlock, kSeal, kNote };
  struct Memory {
    alignas(8) uint64_t number = 0;  // of the note under way
    alignas(8) uint64_t before = 0;  // what the lock was
    BoardText note;
    BoardText record;
  };

  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp& qp, const Disconnect& why) override;

  void connect();
  void receive();
  void take_number();
  void lock();
  void seal();
  void unlock();
  void hand_in();
  void numbered(const WorkCompletion& wc);
  void locked(const WorkCompletion& wc);
  void looked(const WorkCompletion& wc);
  void unlocked(const WorkCompletion& wc);
  void handed_in(const WorkCompletion& wc);
  void answered(const WorkCompletion& wc);

  bool ended(const WorkCompletion& wc);
  void post(Stage stage, const WorkRequest& request);
  WorkRequest swap_lock(Completion& done, const Sge& before, uint64_t from, uint64_t to) const;
  RemoteAddr on_board(size_t offset) const { return {welcome_.board.value + offset}; }
  template <typename Part>
  Sge sge(const Part& part) const {
    return memory_mr_->sge(size_t(reinterpret_cast<const std::byte*>(&part) -
                                  reinterpret_cast<const std::byte*>(&memory_)),
                           sizeof part);
  }

  BoardWorld& world_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Cq> cq_;
  Memory memory_;
  std::unique_ptr<Mr> memory_mr_;
  std::unique_ptr<BoardSeal> seal_;
  std::unique_ptr<Qp> qp_;
  BoardWelcome welcome_;
  Phase phase_ = Phase::kDown;
  Stage stage_ = Stage::kNothing;
  bool finishing_ = false;
  bool receiving_ = false;
  int pending_ = 0;  // requests posted and not completed
  Nanoseconds retry_at_{};
  Bound<Completion, &BoardClient::numbered> on_number_{*this};
  Bound<Completion, &BoardClient::locked> on_lock_{*this};
  Bound<Completion, &BoardClient::looked> on_look_{*this};
  Bound<Completion, &BoardClient::unlocked> on_unlock_{*this};
  Bound<Completion, &BoardClient::handed_in> on_note_{*this};
  Bound<Completion, &BoardClient::answered> on_answer_{*this};
};

}  // namespace mrpool::sim
