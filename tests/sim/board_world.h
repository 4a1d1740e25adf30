// A board in the memory of one server that clients share by atomics and immediate data, under one
// seed: the operations that no storage protocol uses.
//
// A client takes a number from the board (fetch-and-add) and hands in a note with it: a WRITE or a
// SEND with immediate data, which the server answers. Now and then it locks the record on the board
// (compare-and-swap), reads it, writes it and unlocks it. The network breaks, parties disappear,
// and often the ordering sanitizer withholds what it may.
//
// The invariants, checked while it runs and at its end:
//   once       no number is given twice, and none is left out but those whose answer was lost;
//   order      when immediate data arrives its note is whole; who holds the lock reads a whole
//              record;
//   exclusive  a lock stays with its holder until it unlocks, or its connection ends;
//   protocol   no side ever finds the other in the wrong; every note is answered once;
//   resources  afterwards nothing is under way and no connection is left;
//   progress   once the network is calm every client gets on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "tests/sim/host_world.h"

namespace mrpool::sim {

class BoardClient;
class BoardServer;

class BoardWorld final : public HostWorld<BoardClient> {
 public:
  BoardWorld(uint64_t seed, Plant plant, Violated violated);
  ~BoardWorld() override;

  // A client asks for a number; it got that one.
  void asked() { ++asked_; }
  void given(uint64_t number);
  // What lies on the board.
  void check_board() const;

 private:
  void disturb() override;
  size_t connections() const override;
  std::string target_state() const override;
  void check_target() override;
  void stop_target(std::function<void()> stopped) override;

  std::unique_ptr<BoardServer> server_;
  uint64_t asked_ = 0;
  std::set<uint64_t> given_;
};

}  // namespace mrpool::sim
