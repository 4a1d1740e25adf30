// The requests a channel has under way, oldest first: how many, and since when the oldest waits.
//
// Thread safety: the channel's thread. Ownership: links requests, owns none.
#pragma once

#include "examples/storage/storage.h"

namespace mrpool::storage {

class Outstanding {
 public:
  void add(Io& io, Nanoseconds now) {
    io.submitted = now;
    io.older = newest_;
    io.newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = &io;
    newest_ = &io;
    ++count_;
  }
  void remove(Io& io) {
    (io.older != nullptr ? io.older->newer : oldest_) = io.newer;
    (io.newer != nullptr ? io.newer->older : newest_) = io.older;
    --count_;
  }
  uint32_t count() const { return count_; }
  Nanoseconds oldest_age(Nanoseconds now) const {
    return oldest_ == nullptr ? Nanoseconds{} : now - oldest_->submitted;
  }

  Outstanding() = default;
  Outstanding(const Outstanding&) = delete;
  Outstanding& operator=(const Outstanding&) = delete;

 private:
  Io* oldest_ = nullptr;
  Io* newest_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace mrpool::storage
