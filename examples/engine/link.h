// The connection that a protocol runs on, independent of sockets: a Session uses it to send
// messages and to transfer data. qp_link.h implements it on a queue pair; a test may implement it
// in memory.
//
// A protocol derives its connection from Session and its commands from Exchange. The link delivers
// received messages; the session answers with respond() and write(), and transfers data with read()
// and write(). No call allocates memory once the exchanges are bound.
//
// Every message stays in its receive buffer until release_receive(). A peer that sends more
// messages than there are receives loses its connection.
//
// Thread safety: the worker's thread. The loop calls the Session, never from inside a call of the
// Link. Exceptions: disconnected(), and the failed completions that come with it.
// Ownership: a link owns its session. The session owns the exchanges, which live until the link
// ends.
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

// A receive buffer with its message; the link owns it.
struct Receive {};

// The resources of one command on its link: registered memory for its answer, and one transfer at a
// time.
class Exchange : public ListHook {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // The buffer for the answer; valid since bind(). Write to it only while no answer is being sent.
  std::span<std::byte> answer_room() const { return room_; }

 private:
  friend class QpLink;
  void sent();
  void transferred(WcStatus status);

  class QpLink* link_ = nullptr;
  std::span<std::byte> room_;
  Sge sge_{};
  WorkRequest answer_{};
  uint8_t parts_ = 0;  // parts of the answer that are not complete: its SEND, the WRITE before it
  // Of the current transfer: its size, its start, and the bytes that the link had transferred by
  // then.
  uint64_t bytes_ = 0;
  Nanoseconds began_{};
  uint64_t moved_before_ = 0;
  Bound<Completion, &Exchange::sent> sent_{*this};
  Bound<RwOperation, &Exchange::transferred> transfer_{*this};
};

// The answer to a command: how much of the exchange's answer_room() is sent, and which key of the
// peer the SEND invalidates (ignored if the device does not support remote invalidation).
struct Answer {
  uint32_t bytes = 0;
  std::optional<Rkey> invalidate{};
};

// The protocol's side of a link.
class Session {
 public:
  virtual ~Session() = default;

  virtual void received(Receive& receive, std::span<std::byte> message) = 0;
  // A read(), or a write() without an answer, has completed.
  virtual void transferred(Exchange& exchange, bool success) = 0;
  // An answer, and the write() before it, has completed, successfully or not.
  virtual void sent(Exchange& exchange) = 0;
  // The link is closed: nothing can be sent, and no transfer is active. `why` is the argument of
  // drop(). From now on the link waits for idle(); see Link::session_idle().
  virtual void disconnected(const Disconnect& how, std::string_view why) = 0;
  // True if no command is active, in storage or elsewhere.
  virtual bool idle() const = 0;
  // The last call: the session is disconnected and idle, and is destroyed next.
  virtual void drained() {}
  // Called periodically while the link is neither closing nor closed.
  virtual void tick(Nanoseconds now) = 0;
  // Called periodically between disconnected() and drained().
  virtual void linger(Nanoseconds now) { (void)now; }
  // The target stops. The default implementation drops the link; a session may end it in an orderly
  // way instead, within kStopPatience.
  virtual void stop();

  Link& link() { return link_; }
  const Link& link() const { return link_; }

 protected:
  explicit Session(Link& link) : link_(link) {}

 private:
  Link& link_;
};

// How far a peer has identified itself. When there are too many connections, strangers are dropped
// first and guests next. Strangers and guests use no resources that connections share.
enum class Standing : uint8_t {
  kStranger,  // not identified yet
  kGuest,     // may use discovery
  kMember,    // may use storage
};

class Link {
 public:
  // The peer has identified itself as `host`, the name that all its connections share. False: that
  // host already has the most connections that one host may have; the standing does not change.
  [[nodiscard]] virtual bool admit(Standing standing, std::string_view host) = 0;
  // The host's share of the staging memory; valid since admit(). All guests together count as one
  // host.
  const std::shared_ptr<StagingHost>& share() const { return share_; }

  // RDMA READ of `from.length` bytes of a stranger into the link's own buffer at `offset`;
  // transferred() follows. One at a time. early_data() is that buffer, valid until admit(). False:
  // as for read(), or the range exceeds kEarlyBytes.
  [[nodiscard]] virtual bool read_early(Exchange& exchange, uint32_t offset,
                                        const RemoteBuffer& from) = 0;
  virtual std::span<const std::byte> early_data() const = 0;

  // Assigns the exchange its buffer; once, before its first use. At most LinkLayout::exchanges.
  virtual void bind(Exchange& exchange) = 0;
  // Posts the receive again. Call it before the answer that allows the peer to send another
  // message.
  virtual void release_receive(Receive& receive) = 0;
  // Instead of release_receive(), when the message is still needed: it stays in place until
  // free_receive(), and another receive is posted now. False: nothing changed, because
  // LinkLayout::kept receives are kept already or memory is short. Allocates; not for the data
  // path.
  [[nodiscard]] virtual bool keep_receive(Receive& receive) = 0;
  virtual void free_receive(Receive& receive) = 0;

  // Sends a message that belongs to no exchange; the bytes are copied. False: it is too long, or
  // LinkLayout::messages are being sent already.
  [[nodiscard]] virtual bool send(std::span<const std::byte> message) = 0;
  // Sends the answer; sent() follows. False, here and below: nothing was started and no call
  // follows, because the link is closed or an argument exceeds its limits.
  [[nodiscard]] virtual bool respond(Exchange& exchange, const Answer& answer) = 0;
  // RDMA WRITE of `to.length` bytes of `from`; transferred() follows. With `answer`, the answer is
  // posted after the data in the same chain, and sent() follows instead when both have completed.
  // If the data cannot be written, the link ends.
  [[nodiscard]] virtual bool write(Exchange& exchange, std::span<const Sge> from,
                                   const RemoteBuffer& to, const Answer* answer = nullptr) = 0;
  // RDMA READ of `from.length` bytes into `to`; transferred() follows. read() and write() are
  // allowed since admit().
  [[nodiscard]] virtual bool read(Exchange& exchange, std::span<const Sge> to,
                                  const RemoteBuffer& from) = 0;

  // Ends the link: after the posted work requests have completed, or immediately. disconnected()
  // follows.
  virtual void disconnect(std::string_view why) = 0;
  virtual void drop(std::string_view why) = 0;
  // The disconnected session calls it when it has become idle(). The loop then destroys the
  // session.
  virtual void session_idle() = 0;

  virtual Nanoseconds now() const = 0;
  virtual bool connected() const = 0;
  virtual uint16_t read_depth() const = 0;  // RDMA READs this side may have outstanding

  Standing standing() const { return standing_; }
  bool closing() const { return closing_; }  // it is ending: nothing more is received or sent
  bool closed() const { return closed_; }    // it has ended
  uint64_t id() const { return id_; }        // unique on its worker
  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }
  bool remote_invalidation() const { return remote_invalidation_; }  // the device supports it
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
