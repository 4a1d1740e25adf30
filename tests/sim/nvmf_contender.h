// What hosts of the NVMe-oF world lock on: a block that all of them change by Compare and Write.
// Each host also copies it to a block of its own.
//
// Every new content of the block is another value, so a value that was replaced never returns.
// Therefore of all Compare and Writes that expect one value, at most one may succeed, and the block
// never again has a value that one of them has replaced.
//
// Thread safety: one thread. Ownership: the world owns the LockBlock, a host its Contender; the
// session's queues are ended before a Contender is destroyed.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "examples/load/buffer.h"
#include "examples/nvmf/host/session.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

class LockBlock {
 public:
  static constexpr uint32_t kNsid = 2;
  static constexpr uint32_t kBlocks = 8;  // the lock, and one for each host

  explicit LockBlock(Simulation& simulation) : simulation_(simulation) {}
  uint32_t next_value() { return ++last_; }
  // A copy of the lock, read back.
  void check_copy(std::span<const std::byte> block) const;
  // A Compare and Write that expected `value` has succeeded.
  void replaced(uint32_t value);
  // Nothing is under way: what the block holds.
  void check(std::span<const std::byte> block) const;

 private:
  Simulation& simulation_;
  uint32_t last_ = 0;
  std::set<uint32_t> replaced_;
};

class Contender {
 public:
  Contender(Simulation& simulation, LockBlock& lock, Pd& pd, uint32_t number);
  ~Contender();

  // Checks its memory, and starts a command if none is under way and `may_start`.
  void step(nvme::host::Session* session, bool may_start);
  bool idle() const { return under_way_ == 0; }
  std::string state() const;

 private:
  struct Part;
  enum class Kind : uint8_t { kRead, kCompareAndWrite, kCopy, kReadCopy };

  std::span<std::byte> memory() const;
  std::span<std::byte> expected() const;
  std::span<std::byte> wanted() const;
  Kind choose();
  void start(nvme::host::Queue& queue);
  void prepare(Part& part, nvme::IoOpcode opcode, uint32_t block, size_t at);
  void ended();
  void look(nvme::Status read);
  void judge();

  Simulation& simulation_;
  LockBlock& lock_;
  const uint32_t copy_;  // its own block
  load::Buffer buffer_;
  std::unique_ptr<Part> compare_;  // or another command, without `write_`
  std::unique_ptr<Part> write_;
  bool known_ = false;   // it has seen value_, or made it
  bool copied_ = false;  // there is a copy, which nobody changes
  Kind kind_ = Kind::kRead;
  uint32_t value_ = 0;
  uint32_t new_value_ = 0;
  int under_way_ = 0;  // commands
};

}  // namespace mrpool::sim
