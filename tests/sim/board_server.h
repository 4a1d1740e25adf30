// The server of BoardWorld: it owns the board and answers notes. Clients take numbers and locks
// without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mrpool/qp.h"
#include "tests/sim/board.h"
#include "tests/sim/board_world.h"

namespace mrpool::sim {

class BoardLink;

class BoardServer final : public ListenHandler {
 public:
  explicit BoardServer(BoardWorld& world);
  ~BoardServer();

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;

  void kill_one();
  size_t connections() const { return links_.size(); }
  std::string state() const;
  // The sealed blocks of the connection with that note and token; null if it has ended.
  BoardSealed* sealed(uint32_t note, uint64_t token);
  const BoardMemory& board() const { return board_; }

 private:
  friend class BoardLink;
  void ended(BoardLink& link);

  BoardWorld& world_;
  BoardMemory board_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<Mr> board_mr_;
  std::vector<std::unique_ptr<BoardLink>> links_;
  uint64_t next_token_ = 1;
  std::unique_ptr<Listener> listener_;
};

}  // namespace mrpool::sim
