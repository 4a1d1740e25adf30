// The connection below the protocol. Two implementations: the engine's link (session.h) and, in
// tests, memory.
//
// Thread safety: the worker's thread. The loop calls Connection (chunks_ready, fetched, sent),
// never from inside a call of the Link.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mrpool/reactor.h"
#include "mrpool/types.h"

namespace mrpool::engine {
class IoAccount;
}  // namespace mrpool::engine

namespace mrpool::iser_target {

struct Task;

class Link {
 public:
  // Returns a free task, null if there is none. release() returns it.
  virtual Task* take_task() = 0;
  virtual void release(Task& task) = 0;
  // Releases a receive that was kept for its data.
  virtual void release_receive(void* receive) = 0;

  // Sends an answer that belongs to no task; the bytes are copied. False: too many are being sent.
  [[nodiscard]] virtual bool send(std::span<const std::byte> pdu) = 0;
  // Sends task.response; Connection::sent follows. `invalidate` is the peer's key that the SEND
  // invalidates. False, here and below: the connection has ended and nothing was started.
  [[nodiscard]] virtual bool respond(Task& task, std::optional<Rkey> invalidate) = 0;
  // The same after an RDMA WRITE of the first `length` bytes of the task's chunks.
  [[nodiscard]] virtual bool push(Task& task, const RemoteBuffer& to,
                                  std::optional<Rkey> invalidate) = 0;
  // RDMA READ into the task's chunks from `offset` on; Connection::fetched follows.
  [[nodiscard]] virtual bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) = 0;

  // The login has succeeded; an empty name means a discovery session. False: the initiator has too
  // many connections.
  [[nodiscard]] virtual bool admit(std::string_view initiator) = 0;

  // The session has begun; list it until the connection ends.
  virtual void entered(const std::string& /*initiator*/, const std::string& /*target*/,
                       uint16_t /*tsih*/, uint16_t /*cid*/) {}
  // The account for the initiator's commands to this LUN; null: they are not counted. Valid until
  // the connection ends.
  virtual engine::IoAccount* account(const std::string& /*initiator*/,
                                     const std::string& /*target*/, uint16_t /*lun*/) {
    return nullptr;
  }

  // Takes staging memory for `bytes` into task.chunks. False: Connection::chunks_ready follows.
  [[nodiscard]] virtual bool take_chunks(Task& task, uint64_t bytes) = 0;
  virtual void give_chunks(Task& task) = 0;
  // The unit's storage works on the chunks from now until executed().
  virtual void executing(Task& task) = 0;
  virtual void executed(Task& task) = 0;
  // Removes a task that waits for chunks.
  virtual void cancel_chunks(Task& task) = 0;
  virtual std::span<std::byte> chunk(uint16_t index) = 0;

  // Ends the connection: after pending sends have completed, or immediately.
  virtual void disconnect() = 0;
  virtual void drop(std::string_view why) = 0;

  virtual const std::string& local() const = 0;
  virtual const std::string& peer() const = 0;
  virtual bool remote_invalidation() const = 0;
  virtual uint16_t read_depth() const = 0;  // RDMA READs this side may have outstanding
  virtual Nanoseconds now() const = 0;

 protected:
  ~Link() = default;
};

}  // namespace mrpool::iser_target
