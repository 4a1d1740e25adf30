// What the Qps of one device share on one reactor: the round, the receive scratch, the transmit
// batch, and the lists of who has something to do.
//
// A round (poll):
//   0. what was posted between two rounds is sent;
//   1. every hot connection is asked for bytes; all complete FPDUs of one receive are carried out,
//      their completions queued;
//   2. completions are handed to their owners, then set-up and end events;
//   3. whatever was posted meanwhile is sent, one send call per connection where it fits; what
//      completes by that is handed over too.
// A connection is hot while it had traffic lately; a cold one costs nothing until its socket is
// readable.
//
// No user code runs in 0, 1 and the sending of 3, so no list changes under its iteration there.
//
// Thread safety: its reactor's thread.
// Ownership: shared by the Cqs, Qps, listeners and requests of the reactor; gone with the last.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "mrpool/reactor.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/list.h"
#include "transport/uiwarp/stream.h"
#include "transport/uiwarp/tx_batch.h"

namespace mrpool::uiwarp {

class UiwarpCq;
class UiwarpQp;
class Lingerer;

// Something to be done in the round's second part, where user code may run.
class Deferred {
 public:
  virtual void run() = 0;
  ListNode deferred_node;

 protected:
  ~Deferred() = default;
};

class Context final : public Poller, public std::enable_shared_from_this<Context> {
 public:
  static constexpr size_t kScratchBytes = 64 * 1024;

  // Keeps the device that owns `keys`: an owner may let go of it in the last of its callbacks.
  Context(std::shared_ptr<KeyTable> keys, Reactor& reactor);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  bool poll() override;
  bool arm() override;

  Reactor& reactor() { return reactor_; }
  KeyTable& keys() { return *keys_; }
  Quiescence::Reader& reader() { return reader_; }
  std::span<std::byte> scratch() { return {scratch_.get(), kScratchBytes}; }

  // A batch to fill; give it back when all of it was sent.
  std::unique_ptr<TxBatch> take_batch();
  void give_batch(std::unique_ptr<TxBatch> batch);

  void ready(UiwarpCq& queue);  // it has completions
  void make_hot(UiwarpQp& qp);
  void make_dirty(UiwarpQp& qp);        // it may have something to send
  void make_withholding(UiwarpQp& qp);  // the ordering sanitizer holds data of it back
  void defer(Deferred& call);           // once, however often it is asked for until it runs

  // Writes `last_words`, what did not fit of a Terminate or a reject, and keeps `stream` until the
  // peer has read it, for a bounded time: closing a socket with unread bytes would take it back.
  void linger(std::unique_ptr<Stream> stream, std::span<const std::byte> last_words);
  void forget(const Lingerer& lingerer);

 private:
  bool receive();
  bool hand_over();
  bool send();
  void make_cold(UiwarpQp& qp);
  // Work came from outside the rounds while the loop sleeps, or is about to.
  void wake();

  std::shared_ptr<KeyTable> keys_;
  Reactor& reactor_;
  Quiescence::Reader reader_;
  std::unique_ptr<std::byte[]> scratch_;
  std::vector<std::unique_ptr<TxBatch>> batches_;
  std::vector<std::unique_ptr<Lingerer>> lingerers_;

  struct Lists;
  std::unique_ptr<Lists> lists_;
  size_t hot_ = 0;  // connections, in the last round
  bool armed_ = false;
  Timer wake_up_{[](Timer&) {}};  // a round is all that is wanted of it
};

}  // namespace mrpool::uiwarp
