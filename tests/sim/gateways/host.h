// A host of the simulation of gateways: one command at a time, through the gateway that last
// worked, and through the next one when that does not.
//
// Each host writes a block of its own in every group, compares and writes the block that all share,
// and registers with higher and higher keys. It repeats a command until a gateway has done it.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/gateways/process.h"

namespace mrpool::sim {

class GatewayHost {
 public:
  GatewayHost(GatewaysWorld& world, size_t number);

  void start() { think(); }
  // The connections to that gateway broke.
  void broken(size_t gateway);
  std::string state() const;

  uint64_t completed = 0;

 private:
  void think();
  void choose();
  void send();
  void try_next();
  void answered(const GatewayAnswer& answer);
  void done();
  void after(Nanoseconds delay, void (GatewayHost::*next)());

  GatewaysWorld& world_;
  const size_t number_;
  size_t path_ = 0;
  uint64_t attempt_ = 0;  // what is late is of an attempt before
  bool waiting_ = false;  // for an answer
  GatewayCommand command_{};
  std::vector<uint64_t> versions_;  // of its own blocks, by group
  std::vector<BlockValue> seen_;    // of the shared blocks
  uint64_t last_key_ = 0;
  uint64_t least_version_ = 0;  // what a read may return
  Keys least_keys_{};
};

}  // namespace mrpool::sim
