// An NVMe queue: one Qp, the commands on it, and their way through storage and back.
//
// Flow control: a receive is posted for every entry the host may use, and posted again before the
// completion that lets the host use it. A host that sends more than it may finds no receive and
// loses its connection; so does one whose transfers make no progress for the stall timeout, because
// it holds staging memory that others wait for.
//
// Thread safety: the worker's thread. Ownership: the worker's; lives until the connection is gone
// and the storage has answered everything.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/staging.h"
#include "examples/nvmf/target/command.h"
#include "examples/nvmf/target/controller.h"
#include "examples/engine/device_context.h"
#include "examples/engine/channels.h"
#include "examples/nvmf/target/target.h"
#include "mrpool/qp.h"
#include "mrpool/rw.h"

namespace mrpool::nvmf_target {

class Worker;

class Queue final : public QpEvents {
 public:
  Queue(Worker& worker, WorkerDevice& device, uint64_t id, const QueueRequest& request);
  ~Queue();

  // Takes the connection. On failure the request has been rejected.
  absl::Status open(ConnectRequest& request, uint32_t in_capsule);

  // Bytes that a queue of so many entries can come to hold, connection buffers not counted.
  static uint64_t worst_memory(uint32_t entries, uint32_t in_capsule);

  uint64_t id() const { return id_; }
  uint32_t entries() const { return entries_; }
  // Nothing is under way any more and nothing will come: it may be destroyed.
  bool finished() const { return closed_ && outstanding_ == 0; }
  bool closed() const { return closed_; }

  // Ends the connection; completions of commands under way are dropped.
  void drop(std::string_view why);
  // A look from time to time: keep-alive, stalled transfers, connections that never connect.
  void tick(Nanoseconds now);
  // Asynchronous events are there to be sent.
  void deliver_events();
  // A Connect that had to wait may be tried again.
  void connect_again();
  // Nothing of the finished queue is under way: the target may let its successors in.
  void drained();
  // Staging memory is there for `command`, which has waited for it.
  void buffers_ready(Command& command);

  // Tries to abort the command with that id. True: `waiter` gets its answer later through the
  // worker. False: not aborted, answer at once.
  enum class AbortResult : uint8_t { kAborted, kNotAborted, kLater };
  AbortResult abort_command(uint16_t command_id, const AbortWaiter& waiter);
  // An Abort of this queue has its answer.
  void abort_answered(uint32_t slot, uint32_t serial, bool aborted);

  // QpEvents.
  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

  size_t memory_bytes() const;
  const std::string& peer() const { return peer_; }

 private:
  friend struct QueueCallbacks;

  // A namespace as this queue reaches it.
  struct Handle {
    ChannelSlot* channel = nullptr;
    Mr* memory = nullptr;
  };

  // Receiving.
  void received(Receive& receive, const WorkCompletion& wc);
  Command* take_command();
  void grow();
  void dispatch(Command& command, std::span<const std::byte> capsule);
  void dispatch_fabrics(Command& command);
  void dispatch_admin(Command& command);
  void dispatch_io(Command& command);

  void connect(Command& command);

  // Data from the host.
  bool take_buffers(Command& command, uint32_t chunks);
  void fetch(Command& command);
  void fetch_next(Command& command);
  void fetched(Command& command);
  std::span<const std::byte> host_data(const Command& command, uint64_t offset) const;

  // Storage.
  bool refresh_namespaces();
  void release_handles();
  bool use_channel(Command& command, const Namespace& ns);
  void start_io(Command& command);
  void start_read(Command& command);
  void start_write(Command& command);
  void store(Command& command);
  void submit(Command& command);
  void stored(Command& command);
  void finish_compare(Command& command);
  void next_range(Command& command);
  void next_flush(Command& command);
  std::span<const iovec> scatter(Command& command, uint32_t first_chunk, uint64_t bytes);

  // Data to the host and answers.
  void send_reply(Command& command);
  void send_data(Command& command);
  void send_next(Command& command);
  size_t local_sges(const Command& command, uint64_t offset, uint64_t length,
                    std::span<Sge> out) const;
  const WorkRequest& answer(Command& command, nvme::Status status, uint64_t result);
  void respond(Command& command, nvme::Status status, uint64_t result = 0);
  void transferred(Command& command, WcStatus status);
  void transfer_failed(Command& command);
  void sent(Command& command);
  void note_failure(Command& command, nvme::Status status);
  void release(Command& command);
  void finish(Command& command);
  void close();

  Worker& worker_;
  WorkerDevice& device_;
  const uint64_t id_;
  const uint16_t queue_id_;
  const uint32_t entries_;
  std::string peer_;
  std::string local_;
  std::string why_;
  Nanoseconds opened_{};

  std::unique_ptr<Qp> qp_;
  std::unique_ptr<RwContext> rw_;
  WorkerDevice::CompletionQueue* completion_queue_ = nullptr;
  uint32_t completions_ = 0;  // places taken in it
  Pages memory_;              // receive buffers, then completions
  std::unique_ptr<Mr> mr_;
  uint32_t receive_stride_ = 0;
  uint32_t receive_bytes_ = 0;
  std::vector<std::unique_ptr<Receive>> receives_;
  // Twice the entries: a host may use an entry again before the Cq told that its last completion
  // went out. Made in slabs, when a deeper queue is first used.
  std::vector<std::unique_ptr<Command>> commands_;
  std::vector<Command*> free_;
  uint32_t max_commands_ = 0;
  uint32_t outstanding_ = 0;
  uint32_t transfers_ = 0;
  uint64_t progress_ = 0;
  uint64_t seen_progress_ = 0;
  Nanoseconds stalled_since_;
  std::unique_ptr<std::bitset<65536>> ids_;  // command ids in use
  uint32_t sq_head_ = 0;
  uint32_t sq_entries_ = 0;  // as Connect says
  bool sq_flow_ = true;
  bool traffic_ = false;
  bool connected_ = false;
  bool closing_ = false;
  bool closed_ = false;

  std::shared_ptr<Controller> controller_;  // since Connect
  IoCounters* counters_ = nullptr;
  std::shared_ptr<const NamespaceTable> table_;
  uint64_t table_version_ = 0;
  std::vector<Handle> handles_;  // as table_->namespaces
};

}  // namespace mrpool::nvmf_target
