// The connection under a protocol, without sockets in sight: what a Session is given to send and to
// move data with. qp_link.h implements it on a queue pair; a test may implement it in memory.
//
// A protocol derives its connection from Session and its commands from Exchange. The link hands in
// received messages; the session answers through respond() and write(), and moves data by read()
// and write(). Nothing here allocates once exchanges are bound.
//
// Every message stays in the receive it landed in until release_receive(); a peer that sends more
// messages than there are receives loses its connection.
//
// Thread safety: the worker's thread. Calls of a Session come from the loop, never from inside a
// call of the Link, except disconnected() and what fails with it.
// Ownership: a link owns its session. Exchanges are the session's; they stay until the link ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "examples/engine/device_context.h"
#include "examples/engine/list.h"
#include "examples/engine/staging.h"
#include "mrpool/callback.h"
#include "mrpool/qp.h"
#include "mrpool/rw.h"
#include "mrpool/work.h"

namespace mrpool::engine {

class Link;

// A receive with the message in it; the link's.
struct Receive {};

// What one command needs of its link: room for its answer in registered memory, and one transfer
// at a time.
class Exchange : public ListHook {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // Room for the answer, since bind(). Write it while no answer is under way.
  std::span<std::byte> answer_room() const { return room_; }

 private:
  friend class QpLink;
  void sent();
  void transferred(WcStatus status);

  class QpLink* link_ = nullptr;
  std::span<std::byte> room_;
  Sge sge_{};
  WorkRequest answer_{};
  uint8_t parts_ = 0;  // of the answer, still under way: its SEND, the WRITE before it
  // Of the transfer under way: its size, since when, and what the link had moved by then.
  uint64_t bytes_ = 0;
  Nanoseconds began_{};
  uint64_t moved_before_ = 0;
  Bound<Completion, &Exchange::sent> sent_{*this};
  Bound<RwOperation, &Exchange::transferred> transfer_{*this};
};

// The end of a command: what of the exchange's answer_room() is sent, and which of the peer's keys
// ends with it (ignored where the device does not invalidate remotely).
struct Answer {
  uint32_t bytes = 0;
  std::optional<Rkey> invalidate{};
};

// The protocol's end of a link.
class Session {
 public:
  virtual ~Session() = default;

  virtual void received(Receive& receive, std::span<std::byte> message) = 0;
  // A read(), or a write() without an answer, is done.
  virtual void transferred(Exchange& exchange, bool success) = 0;
  // An answer is done with, sent or not, and so is the write() it came after.
  virtual void sent(Exchange& exchange) = 0;
  // The link is gone: nothing can be sent, and nothing is under way on it. `why` is what drop() was
  // given. From here on the link waits for idle(); see Link::session_idle().
  virtual void disconnected(const Disconnect& how, std::string_view why) = 0;
  // No command is under way, in storage or elsewhere.
  virtual bool idle() const = 0;
  // The last call: the session is disconnected and idle, and is destroyed next.
  virtual void drained() {}
  // From time to time, while the link is neither closing nor closed.
  virtual void tick(Nanoseconds now) = 0;
  // From time to time, between disconnected() and drained().
  virtual void linger(Nanoseconds now) { (void)now; }
  // The target stops. By default it drops the link; a session may end it in good order instead,
  // for which it has kStopPatience.
  virtual void stop();

  Link& link() { return link_; }
  const Link& link() const { return link_; }

 protected:
  explicit Session(Link& link) : link_(link) {}

 private:
  Link& link_;
};

// What a peer has shown of itself. Strangers, and after them guests, make room first when there are
// too many connections; they use nothing that connections share.
enum class Standing : uint8_t {
  kStranger,  // nothing yet
  kGuest,     // it may look around (discovery)
  kMember,    // it may use storage
};

class Link {
 public:
  // The peer is no stranger any more: it is `host`, as all its connections are called. False: that
  // host has as many connections as one may have; it stays what it was.
  [[nodiscard]] virtual bool admit(Standing standing, std::string_view host) = 0;
  // The host's share of what connections share; since admit(). Guests are one host together.
  const std::shared_ptr<StagingHost>& share() const { return share_; }

  // RDMA READ of a stranger's `from.length` bytes into memory of the link's own, from `offset` on;
  // transferred() follows. One at a time, and early_data() shows what came until admit().
  // False: as for read(), or it goes beyond kEarlyBytes.
  [[nodiscard]] virtual bool read_early(Exchange& exchange, uint32_t offset,
                                        const RemoteBuffer& from) = 0;
  virtual std::span<const std::byte> early_data() const = 0;

  // Gives the exchange its room, once, before its first use. At most LinkLayout::exchanges.
  virtual void bind(Exchange& exchange) = 0;
  // The receive may carry another message. Before the answer that lets the peer send one.
  virtual void release_receive(Receive& receive) = 0;
  // Somebody still reads the message: it stays where it is until free_receive(), and another
  // receive takes its place now, instead of release_receive(). False: nothing has changed, since
  // LinkLayout::kept are kept, or there is no memory. Allocates; not for the data path.
  [[nodiscard]] virtual bool keep_receive(Receive& receive) = 0;
  virtual void free_receive(Receive& receive) = 0;

  // Sends a message that belongs to no exchange; the bytes are copied. False: it is too long, or as
  // many are under way as LinkLayout::messages.
  [[nodiscard]] virtual bool send(std::span<const std::byte> message) = 0;
  // Sends the answer; sent() follows. False, here and below: nothing was started, and nothing
  // follows; the link is gone, or what was asked for breaks its limits.
  [[nodiscard]] virtual bool respond(Exchange& exchange, const Answer& answer) = 0;
  // RDMA WRITE of `to.length` bytes of `from`; transferred() follows. With `answer`, the answer
  // goes out in the same chain after the data and sent() follows instead, when both are done. Data
  // that cannot be written ends the link then.
  [[nodiscard]] virtual bool write(Exchange& exchange, std::span<const Sge> from,
                                   const RemoteBuffer& to, const Answer* answer = nullptr) = 0;
  // RDMA READ of `from.length` bytes into `to`; transferred() follows. This and write(): since
  // admit().
  [[nodiscard]] virtual bool read(Exchange& exchange, std::span<const Sge> to,
                                  const RemoteBuffer& from) = 0;

  // Ends the link: in good order after what was posted, or at once. disconnected() follows.
  virtual void disconnect(std::string_view why) = 0;
  virtual void drop(std::string_view why) = 0;
  // The disconnected session has become idle(). It is destroyed from the loop.
  virtual void session_idle() = 0;

  virtual Nanoseconds now() const = 0;
  virtual bool connected() const = 0;
  virtual uint16_t read_depth() const = 0;  // RDMA READs this side may have outstanding

  Standing standing() const { return standing_; }
  bool closing() const { return closing_; }  // it ends: nothing more is received or sent
  bool closed() const { return closed_; }    // it has ended
  uint64_t id() const { return id_; }        // unique on its worker
  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }
  bool remote_invalidation() const { return remote_invalidation_; }  // the device can
  DeviceContext* device() { return device_; }                        // null in memory
  Lkey staging_key() const { return staging_key_; }                  // of the worker's Staging

 protected:
  ~Link() = default;

  uint64_t id_ = 0;
  std::string peer_;
  std::string local_;
  DeviceContext* device_ = nullptr;
  Lkey staging_key_{};
  bool remote_invalidation_ = false;
  Standing standing_ = Standing::kStranger;
  std::shared_ptr<StagingHost> share_;
  bool closing_ = false;
  bool closed_ = false;
};

inline void Session::stop() { link_.drop("the target stops"); }

}  // namespace mrpool::engine
