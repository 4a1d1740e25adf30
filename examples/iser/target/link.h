// What the protocol needs of the connection under it. Two implementations: the engine's link
// (session.h) and, in tests, memory.
//
// Thread safety: the worker's thread. Calls back into Connection (chunks_ready, fetched, sent)
// come from the loop, never from inside a call of the Link.
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
  // A free task, null when there is none. Tasks go back with release().
  virtual Task* take_task() = 0;
  virtual void release(Task& task) = 0;
  // The receive that carried retained data may be used again.
  virtual void release_receive(void* receive) = 0;

  // Sends an answer that belongs to no task; the bytes are copied. False: too many are under way.
  [[nodiscard]] virtual bool send(std::span<const std::byte> pdu) = 0;
  // Sends task.response; Connection::sent follows. `invalidate` ends the peer's key with it.
  // False, here and below: the connection is gone and nothing was started.
  [[nodiscard]] virtual bool respond(Task& task, std::optional<Rkey> invalidate) = 0;
  // The same after an RDMA WRITE of the first `length` bytes of the task's chunks.
  [[nodiscard]] virtual bool push(Task& task, const RemoteBuffer& to,
                                  std::optional<Rkey> invalidate) = 0;
  // RDMA READ into the task's chunks from `offset` on; Connection::fetched follows.
  [[nodiscard]] virtual bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) = 0;

  // The login has succeeded; without a name it only is for discovery. False: the initiator has too
  // many connections.
  [[nodiscard]] virtual bool admit(std::string_view initiator) = 0;

  // The session has begun; to be shown until the connection is gone.
  virtual void entered(const std::string& /*initiator*/, const std::string& /*target*/,
                       uint16_t /*tsih*/, uint16_t /*cid*/) {}
  // Where the commands of this initiator for that LUN are counted; null: nowhere. For as long as
  // there is the connection.
  virtual engine::IoAccount* account(const std::string& /*initiator*/,
                                     const std::string& /*target*/, uint16_t /*lun*/) {
    return nullptr;
  }

  // Staging memory for `bytes`, into task.chunks. False: Connection::chunks_ready follows.
  [[nodiscard]] virtual bool take_chunks(Task& task, uint64_t bytes) = 0;
  virtual void give_chunks(Task& task) = 0;
  // The unit's storage works on them, from here to executed().
  virtual void executing(Task& task) = 0;
  virtual void executed(Task& task) = 0;
  // Forgets a task that waits for chunks.
  virtual void cancel_chunks(Task& task) = 0;
  virtual std::span<std::byte> chunk(uint16_t index) = 0;

  // Ends the connection, in good order after what was sent, or at once.
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
