// Queue pairs and the connections they are made with.
//
// A Qp is one connection: it is made by Device::connect or by ConnectRequest::accept, and its life
// is connecting → connected → closing → closed. While it is connecting, receives can be posted;
// from on_connected on, everything. When it leaves the connected state all outstanding requests
// complete as kFlushed (one that caused the end says why), in the order they were posted per queue.
// on_disconnected comes after the last of these: nothing is called for the Qp from then on.
//
// Thread safety: all calls on the thread of the Reactor of the Qp's Cqs (checked in debug builds).
// Ownership: the caller owns the Qp. Destroying it earlier than on_disconnected drops the
// connection and flushes what is outstanding, from inside the destructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/reactor.h"
#include "mrpool/statistics.h"
#include "mrpool/work.h"

namespace mrpool {

class Pd;

struct CqOptions {
  // Entries: the sum over its Qps of max_send_wr + max_recv_wr. Never resized (iWARP cannot).
  uint32_t depth = 0;
};

class Cq {
 public:
  virtual ~Cq() = default;
  virtual Reactor& reactor() = 0;
};

struct SrqOptions {
  uint32_t max_wr = 0;
  uint32_t max_sge = 1;
};

// Receives shared by Qps of one Pd and one reactor, in the order of posting. Its end flushes them.
class Srq {
 public:
  virtual ~Srq() = default;
  virtual PostStatus post_recv(const RecvRequest& chain) = 0;
};

struct QpOptions {
  Cq* send_cq = nullptr;  // borrowed; both of the same reactor
  Cq* recv_cq = nullptr;
  Srq* srq = nullptr;  // borrowed; post_recv is not used then
  uint32_t max_send_wr = 128;
  uint32_t max_recv_wr = 128;
  uint32_t max_send_sge = 4;
  uint32_t max_recv_sge = 1;
  uint16_t ord = 16;  // READs this side may have outstanding; lowered to the peer's ird
  uint16_t ird = 16;  // READs the peer may have outstanding here
};

struct ConnectParams {
  std::span<const std::byte> private_data;  // copied
  Nanoseconds timeout = std::chrono::seconds(5);
};

struct ConnectionInfo {
  std::string local;  // "127.0.0.1:4420"
  std::string peer;
  uint16_t ord = 0;  // as negotiated: READs this side may have outstanding
  uint16_t ird = 0;
  std::span<const std::byte> private_data;  // the peer's; valid during the call
};

enum class DisconnectReason : uint8_t {
  kLocal,       // this side asked for it
  kPeer,        // the peer closed in good order
  kReset,       // the connection broke, or keepalive gave it up
  kTerminated,  // the peer sent a Terminate: it found this side in the wrong
  kProtocol,    // this side found the peer in the wrong (and sent a Terminate where it could)
  kRejected,    // the peer refused the connection: ConnectionInfo-less on_rejected came before
  kTimeout,     // no answer within ConnectParams::timeout
};
std::string_view to_string(DisconnectReason reason);

struct Disconnect {
  DisconnectReason reason = DisconnectReason::kLocal;
  // kTerminated, kProtocol: the Terminate's layer, error type and error code (RFC 5040 §4.8), else
  // 0. `detail` is for people and valid during the call.
  uint8_t layer = 0;
  uint8_t error_type = 0;
  uint8_t error_code = 0;
  std::string_view detail;
};

class QpEvents {
 public:
  virtual void on_connected(Qp& qp, const ConnectionInfo& info) = 0;
  // Only for connect(): the peer said no, with private data of its own. on_disconnected follows.
  virtual void on_rejected(Qp& qp, std::span<const std::byte> private_data) = 0;
  // The last call; the Qp may be destroyed from here.
  virtual void on_disconnected(Qp& qp, const Disconnect& why) = 0;

 protected:
  ~QpEvents() = default;
};

class Qp {
 public:
  virtual ~Qp() = default;

  // Queues the chain in order. Work begins at once or at the end of the reactor's round, whichever
  // batches better; no flush call exists.
  virtual PostResult post_send(const WorkRequest& chain) = 0;
  virtual PostStatus post_recv(const RecvRequest& chain) = 0;

  // Closes in good order after what was posted went out; abort() drops the connection at once.
  // Both are heard of through on_disconnected, and may be called in any state.
  virtual void disconnect() = 0;
  virtual void abort() = 0;

  virtual bool connected() const = 0;
  virtual Pd& pd() = 0;
  virtual Reactor& reactor() = 0;
  // As negotiated; 0 before the connection is established.
  virtual uint16_t ord() const = 0;
  // Bytes of memory this Qp holds, buffers of its connection included.
  virtual size_t memory_bytes() const = 0;
  // What happened on this connection so far.
  virtual TransportStatistics statistics() const { return not_counted(); }
};

// A peer that wants to connect. Destroying it without an answer rejects it. May be moved to another
// reactor's thread and accepted there: the Qp then lives on the reactor of its Cqs.
class ConnectRequest {
 public:
  virtual ~ConnectRequest() = default;
  virtual const ConnectionInfo& info() const = 0;  // ord, ird: what the peer offers, seen from here
  // on_connected follows, from the Qp's reactor. Receives should be posted before the callback that
  // got the request returns to the loop: the peer may send at once.
  virtual absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                                     const ConnectParams& params,
                                                     QpEvents& events) = 0;
  virtual void reject(std::span<const std::byte> private_data) = 0;
};

class ListenHandler {
 public:
  virtual void on_connect_request(std::unique_ptr<ConnectRequest> request) = 0;

 protected:
  ~ListenHandler() = default;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops listening; connections made live on
  virtual uint16_t port() const = 0;
};

}  // namespace mrpool
