// Waits until no reactor uses a key that was closed. With it, destroying an Mr costs the data path
// nothing.
//
// Every reactor of a device has a Reader. It enters before it looks up a key and leaves when it has
// finished with the key's memory: two plain stores, no fence. A thread that closes a key calls
// synchronize() afterwards. When that returns, no reader uses the key's memory.
//
// Proof: enter() makes `phase_` odd and is followed only by a compiler barrier, so the processor
// may delay the store past the look-up. synchronize() therefore first runs membarrier, a full
// barrier in every running thread of the process. If a reader's store was not visible by then, the
// reader performs its look-up after the barrier and finds the key closed. If the store was visible,
// synchronize() waits for the reader. leave() is a release store that synchronize() acquires, so
// the
// reader's last access happens before the memory is reused.
//
// Thread safety: Reader: its reactor's thread. synchronize(): any thread that is not inside a
// Reader's section (no user code runs inside one, so callbacks may call it).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace mrpool::uiwarp {

class Quiescence {
 public:
  class Reader {
   public:
    explicit Reader(Quiescence& owner);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    void enter() {
      phase_.store(phase_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      if (owner_.needs_fence_) [[unlikely]] {
        std::atomic_thread_fence(std::memory_order_seq_cst);
      } else {
        std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with membarrier
      }
    }
    // Release: pairs with the acquire load in synchronize().
    void leave() {
      phase_.store(phase_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

   private:
    friend class Quiescence;
    Quiescence& owner_;
    alignas(64) std::atomic<uint64_t> phase_{0};  // odd while inside
  };

  // Inside a section for the life of the object.
  class Section {
   public:
    explicit Section(Reader& reader) : reader_(reader) { reader_.enter(); }
    ~Section() { reader_.leave(); }
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

   private:
    Reader& reader_;
  };

  Quiescence();
  void synchronize();

 private:
  std::mutex mutex_;
  std::vector<Reader*> readers_;
  bool needs_fence_ = false;  // a kernel without membarrier: readers pay for a fence
};

}  // namespace mrpool::uiwarp
