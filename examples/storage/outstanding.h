// The requests a channel has under way, oldest first: how many, and since when the oldest waits;
// and what went wrong with those that are done.
//
// Thread safety: the channel's thread. Ownership: links requests, owns none.
#pragma once

#include <utility>

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
  // The request is done, or its delay is over.
  void remove(Io& io, Nanoseconds now) {
    note(io, now - io.submitted);
    remove(io);
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

  Trouble take_trouble() { return std::exchange(trouble_, {}); }

  Outstanding() = default;
  Outstanding(const Outstanding&) = delete;
  Outstanding& operator=(const Outstanding&) = delete;

 private:
  void note(const Io& io, Nanoseconds time) {
    if (time > trouble_.longest) {
      trouble_.longest = time;
      trouble_.longest_op = io.op;
    }
    if (io.error == Error::kNone) return;
    ++trouble_.errors;
    trouble_.error = io.error;
    trouble_.op = io.op;
    trouble_.offset = io.offset;
    trouble_.length = io.length;
  }

  Io* oldest_ = nullptr;
  Io* newest_ = nullptr;
  uint32_t count_ = 0;
  Trouble trouble_;
};

}  // namespace mrpool::storage
