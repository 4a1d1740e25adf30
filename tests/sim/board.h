// The memory layout and messages of the clients and the server of BoardWorld.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "mrpool/integrity.h"
#include "mrpool/types.h"

namespace mrpool::sim {

inline constexpr size_t kBoardWords = 64;
inline constexpr uint32_t kBoardBytes = kBoardWords * sizeof(uint64_t);
inline constexpr uint32_t kBoardLinks = 16;  // connections at a time

// A note, or the record: every word has the number with which it was written.
struct BoardText {
  uint64_t words[kBoardWords] = {};

  void write(uint64_t number) { std::ranges::fill(words, number); }
  bool whole() const {
    return std::ranges::all_of(words, [this](uint64_t word) { return word == words[0]; });
  }
};

inline constexpr uint32_t kSealBlock = 512;
inline constexpr uint32_t kSealBlocks = 4;
inline constexpr size_t kSealWords = size_t{kSealBlock} * kSealBlocks / sizeof(uint64_t);

// Blocks followed by their tuples.
struct BoardSealed {
  std::byte bytes[kSealBlocks * (kSealBlock + kTupleBytes)] = {};
};

struct BoardMemory {
  alignas(8) uint64_t next = 0;  // the next number
  alignas(8) uint64_t lock = 0;  // 0, or the token of the connection that holds it
  BoardText record;
  BoardText notes[kBoardLinks];    // one for each connection
  BoardSealed seals[kBoardLinks];  // likewise
};

// Private data of the server's answer to a connection.
struct BoardWelcome {
  uint64_t token = 0;  // of this connection; never 0, never used again
  uint32_t note = 0;   // where its notes go
  RemoteAddr board;
  Rkey key;
};

}  // namespace mrpool::sim
