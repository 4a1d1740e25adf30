#include "transport/uiwarp/key_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <thread>

namespace mrpool::uiwarp {
namespace {

constexpr uint64_t kTop = std::numeric_limits<uint64_t>::max();

struct Opened {
  Opened(KeyTable& table, uint64_t base, uint64_t length, Access access, uint64_t qp = 0)
      : keys(table), memory(4096) {
    slot = keys.allocate(stag);
    segment = {.memory = memory.data(), .length = length};
    slot->qp = qp;
    slot->pd = 1;
    slot->remote_base = base;
    slot->local_base = base;
    slot->length = length;
    slot->segments = &segment;
    slot->segment_count = 1;
    slot->access = access;
    keys.open(*slot, stag);
  }
  ~Opened() {
    KeyTable::close(*slot);
    keys.synchronize();
    keys.release(slot);
  }
  KeyError ask(uint64_t to, uint64_t length, Access rights = Access::kRemoteRead, uint64_t pd = 1,
               uint64_t qp = 9) {
    KeyRange range;
    return keys.resolve_remote(stag, to, length, rights, {.pd = pd, .qp = qp}, range);
  }
  KeyTable& keys;
  std::vector<std::byte> memory;
  KeySlot* slot;
  uint32_t stag = 0;
  Segment segment;
};

TEST(KeyTable, BoundsToTheByte) {
  KeyTable keys(1);
  Opened key(keys, 1000, 100, Access::kRemoteRead);
  EXPECT_EQ(key.ask(1000, 100), KeyError::kNone);
  EXPECT_EQ(key.ask(1099, 1), KeyError::kNone);
  EXPECT_EQ(key.ask(1100, 0), KeyError::kNone);
  EXPECT_EQ(key.ask(999, 1), KeyError::kBounds);
  EXPECT_EQ(key.ask(1100, 1), KeyError::kBounds);
  EXPECT_EQ(key.ask(1001, 100), KeyError::kBounds);
  EXPECT_EQ(key.ask(1101, 0), KeyError::kBounds);
  EXPECT_EQ(key.ask(0, 1), KeyError::kBounds);
}

TEST(KeyTable, OffsetsThatWrap) {
  KeyTable keys(1);
  Opened key(keys, 1000, 100, Access::kRemoteRead);
  EXPECT_EQ(key.ask(kTop, 1), KeyError::kBounds);
  EXPECT_EQ(key.ask(kTop, 2), KeyError::kWrap);
  EXPECT_EQ(key.ask(kTop - 10, 1010 + 50), KeyError::kWrap);  // 64-bit sum lands inside
  EXPECT_EQ(key.ask(1050, kTop), KeyError::kWrap);
  EXPECT_EQ(key.ask(1050, kTop - 1050), KeyError::kBounds);
  Opened high(keys, kTop - 100, 100, Access::kRemoteRead);
  EXPECT_EQ(high.ask(kTop - 100, 100), KeyError::kNone);
  EXPECT_EQ(high.ask(kTop - 50, 100), KeyError::kWrap);
  EXPECT_EQ(high.ask(0, 1), KeyError::kBounds);
}

TEST(KeyTable, RightsPdAndQp) {
  KeyTable keys(1);
  Opened key(keys, 0, 100, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(key.ask(0, 1, Access::kRemoteWrite), KeyError::kNone);
  EXPECT_EQ(key.ask(0, 1, Access::kRemoteRead), KeyError::kAccess);
  EXPECT_EQ(key.ask(0, 1, Access::kRemoteWrite, /*pd=*/2), KeyError::kNotAssociated);
  Opened bound(keys, 0, 100, Access::kRemoteRead, /*qp=*/9);
  EXPECT_EQ(bound.ask(0, 1), KeyError::kNone);
  EXPECT_EQ(bound.ask(0, 1, Access::kRemoteRead, 1, /*qp=*/10), KeyError::kNotAssociated);
  // Rights come before bounds: a peer learns nothing of a region's size from a wrong right.
  EXPECT_EQ(key.ask(5000, 1, Access::kRemoteRead), KeyError::kAccess);
}

TEST(KeyTable, WhatAQpDeniesItsPeer) {
  KeyTable keys(1);
  Opened key(keys, 0, 100, Access::kRemoteWrite | Access::kRemoteRead | Access::kLocalWrite);
  KeyUser user{.pd = 1, .qp = 9, .denied = Access::kRemoteWrite};
  KeyRange range;
  const auto ask = [&](Access rights) {
    return keys.resolve_remote(key.stag, 0, 1, rights, user, range);
  };
  EXPECT_EQ(ask(Access::kRemoteWrite), KeyError::kAccess);
  EXPECT_EQ(ask(Access::kRemoteRead), KeyError::kNone);
  // The sink of a READ and an Sge are the owner's own requests.
  EXPECT_EQ(keys.resolve_sink(key.stag, 0, 1, Access::kRemoteWrite, user, range), KeyError::kNone);
  EXPECT_EQ(keys.resolve_local({nullptr, 1, {key.stag}}, Access::kRemoteWrite, user, range),
            KeyError::kNone);
  user.exempt = key.stag;
  EXPECT_EQ(ask(Access::kRemoteWrite), KeyError::kNone);
}

TEST(KeyTable, ClosedMeansInvalidAtOnce) {
  KeyTable keys(1);
  Opened key(keys, 0, 100, Access::kRemoteRead);
  KeyRange range;
  ASSERT_EQ(keys.resolve_remote(key.stag, 0, 10, Access::kRemoteRead, {.pd = 1, .qp = 0}, range),
            KeyError::kNone);
  EXPECT_TRUE(range.live());
  KeyTable::close(*key.slot);
  EXPECT_FALSE(range.live());
  EXPECT_EQ(key.ask(0, 1), KeyError::kInvalid);
}

// No STag of a slot comes back before 127 others went by.
TEST(KeyTable, StaleKeysDoNotHit) {
  KeyTable keys(42);
  uint32_t stag = 0;
  KeySlot* slot = keys.allocate(stag);
  std::deque<uint32_t> last = {stag};
  for (int i = 1; i < 10'000; ++i) {
    const uint32_t next = keys.next_stag(*slot);
    ASSERT_EQ(std::ranges::count(last, next), 0) << "repeated after " << i;
    last.push_back(next);
    if (last.size() > 127) last.pop_front();
    EXPECT_EQ(keys.slot_of(next), slot);
    keys.open(*slot, next);
    KeyRange range;
    ASSERT_EQ(keys.resolve_remote(stag, 0, 0, Access::kNone, {}, range), KeyError::kInvalid);
    KeyTable::close(*slot);
  }
  keys.release(slot);
}

// The difference of two consecutive keys reveals nothing: over many keys, each step of the key part
// and of the rest is as rare as by chance. So it is with keys of the operating system's randomness,
// which
// differ from table to table.
TEST(KeyTable, NoKeyRevealsTheNext) {
  constexpr int kKeys = 10'000;
  for (const std::optional<uint64_t> seed :
       {std::optional<uint64_t>(3), std::optional<uint64_t>()}) {
    KeyTable keys(seed);
    uint32_t stag = 0;
    KeySlot* slot = keys.allocate(stag);
    std::map<uint32_t, int> parts, rests;
    for (int i = 0; i < kKeys; ++i) {
      const uint32_t next = keys.next_stag(*slot);
      ++parts[(next - stag) & 0xff];
      ++rests[(next - stag) >> 8];
      stag = next;
    }
    keys.release(slot);
    EXPECT_EQ(parts.size(), 256u);
    for (const auto& [step, times] : parts) EXPECT_LT(times, 100) << "39 expected, of " << step;
    // 128 epochs in the order of a secret permutation; the borrow of the key part is one more or
    // not.
    for (const auto& [step, times] : rests) EXPECT_LT(times, kKeys / 32) << step;
  }
}

TEST(KeyTable, TablesDiffer) {
  std::set<uint32_t> first;
  for (int i = 0; i < 100; ++i) {
    KeyTable keys(std::nullopt);
    uint32_t stag = 0;
    keys.release(keys.allocate(stag));
    first.insert(stag);
  }
  EXPECT_GT(first.size(), 98u);
}

TEST(KeyTable, EverySlotHasItsOwnKeysAndSeedsDiffer) {
  KeyTable one(1), two(2);
  std::set<uint32_t> of_one, of_two;
  std::vector<KeySlot*> slots;
  for (int i = 0; i < 5000; ++i) {
    uint32_t a = 0, b = 0;
    slots.push_back(one.allocate(a));
    EXPECT_EQ(one.slot_of(a), slots.back());
    two.allocate(b);
    EXPECT_TRUE(of_one.insert(a).second);
    EXPECT_TRUE(of_two.insert(b).second);
  }
  EXPECT_NE(of_one, of_two);
  // Consecutive slots do not have consecutive keys.
  EXPECT_GT(*of_one.rbegin() >> 8, 5000u * 16);
  for (KeySlot* slot : slots) one.release(slot);
  EXPECT_EQ(one.in_use(), 0u);
}

TEST(KeyTable, RunsOut) {
  KeyTable keys(1);
  uint32_t stag = 0;
  for (uint32_t i = 0; i < KeyTable::kMaxSlots; ++i) ASSERT_NE(keys.allocate(stag), nullptr);
  EXPECT_EQ(keys.allocate(stag), nullptr);
}

TEST(KeyTable, PiecesOfAMappingWithGaps) {
  std::vector<std::byte> memory(1000);
  const Segment segments[] = {{.memory = &memory[500], .length = 10, .offset = 0},
                              {.memory = &memory[100], .length = 20, .offset = 10},
                              {.memory = &memory[300], .length = 5, .offset = 30}};
  KeySlot slot;
  slot.segments = segments;
  slot.segment_count = 3;
  slot.length = 35;
  const auto pieces = [&](uint64_t offset, uint64_t length) {
    std::vector<std::pair<size_t, size_t>> out;
    visit_memory({&slot, 0, offset}, length, [&](std::byte* at, size_t bytes) {
      out.emplace_back(at - memory.data(), bytes);
      return true;
    });
    return out;
  };
  using Pieces = std::vector<std::pair<size_t, size_t>>;
  EXPECT_EQ(pieces(0, 35), (Pieces{{500, 10}, {100, 20}, {300, 5}}));
  EXPECT_EQ(pieces(9, 2), (Pieces{{509, 1}, {100, 1}}));
  EXPECT_EQ(pieces(10, 20), (Pieces{{100, 20}}));
  EXPECT_EQ(pieces(34, 1), (Pieces{{304, 1}}));
}

// A reader that is inside keeps synchronize() waiting until it leaves.
TEST(Quiescence, WaitsForThreadsInside) {
  Quiescence quiescence;
  Quiescence::Reader reader(quiescence);
  std::atomic<bool> inside{false}, leave{false}, gone{false};
  std::thread other([&] {
    const Quiescence::Section section(reader);
    inside = true;
    while (!leave) std::this_thread::yield();
    gone = true;
  });
  while (!inside) std::this_thread::yield();
  std::thread releaser([&] { leave = true; });
  quiescence.synchronize();
  EXPECT_TRUE(gone);
  other.join();
  releaser.join();
  quiescence.synchronize();
}

// The memory of a key is released and overwritten while readers look it up: under ASan and TSan
// this shows that a closed key's memory is not accessed.
TEST(Quiescence, MemoryIsFreeAfterSynchronize) {
  KeyTable keys(7);
  std::atomic<uint32_t> current{0};
  std::atomic<bool> stop{false};
  std::thread reader_thread([&] {
    Quiescence::Reader reader(keys.quiescence());
    uint64_t sum = 0;
    while (!stop) {
      const Quiescence::Section section(reader);
      KeyRange range;
      if (keys.resolve_remote(current.load(std::memory_order_relaxed), 0, 64, Access::kRemoteRead,
                              {.pd = 1, .qp = 0}, range) != KeyError::kNone) {
        continue;
      }
      visit_memory(range, 64, [&](std::byte* at, size_t bytes) {
        for (size_t i = 0; i < bytes; ++i) sum += std::to_integer<unsigned>(at[i]);
        return true;
      });
    }
    EXPECT_EQ(sum, 0u);
  });
  for (int i = 0; i < 2000; ++i) {
    Opened key(keys, 0, 64, Access::kRemoteRead);
    current.store(key.stag, std::memory_order_relaxed);
    if (i % 16 == 0) std::this_thread::yield();
    KeyTable::close(*key.slot);
    keys.synchronize();
    std::fill(key.memory.begin(), key.memory.end(), std::byte(0xff));
  }
  stop = true;
  reader_thread.join();
}

}  // namespace
}  // namespace mrpool::uiwarp
