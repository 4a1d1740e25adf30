// A board in the memory of one server that clients share by atomics and immediate data, under one
// seed: the operations that no storage protocol uses.
//
// A client takes a number from the board (fetch-and-add) and submits a note with it: a WRITE or a
// SEND with immediate data, which the server answers. Sometimes it locks the record on the board
// (compare-and-swap), reads it, writes it and unlocks it. Or it writes protected blocks, reads them
// back, and reads them again after a bit has flipped. The network fails, clients and server
// disappear, and often the ordering sanitizer withholds data.
//
// The invariants, checked while it runs and at its end:
//   once       no number is given twice; only numbers with a lost answer are missing;
//   order      a note is complete when its immediate data arrives; a lock's holder reads a
//              complete record;
//   exclusive  a lock stays with its holder until it unlocks, or its connection ends;
//   sealed     protected blocks are read as they were written, and the flipped bit is detected in
//              its block;
//   protocol   no side detects a protocol error; every note is answered once;
//   resources  at the end no request and no connection remains;
//   progress   on a calm network every client makes progress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/host_world.h"

namespace mrpool::sim {

class BoardClient;
class BoardServer;
struct BoardSealed;

class BoardWorld final : public HostWorld<BoardClient> {
 public:
  // The actions of a client.
  static constexpr std::string_view kLocked = "locked";
  static constexpr std::string_view kSealed = "sealed";
  static constexpr std::string_view kNoted = "noted";

  BoardWorld(uint64_t seed, Plant plant, Violated violated);
  ~BoardWorld() override;

  // A client requests a number; it received that one.
  void asked() { ++asked_; }
  void given(uint64_t number);
  // The sealed blocks of the connection with that note and token; null when it has ended.
  BoardSealed* sealed(uint32_t note, uint64_t token);
  // Checks the contents of the board.
  void check_board() const;

 private:
  void disturb() override;
  std::vector<std::string_view> all_moves() const override { return {kLocked, kSealed, kNoted}; }
  size_t connections() const override;
  std::string target_state() const override;
  void check_target() override;
  void stop_target(std::function<void()> stopped) override;

  std::unique_ptr<BoardServer> server_;
  uint64_t asked_ = 0;
  std::set<uint64_t> given_;
};

}  // namespace mrpool::sim
