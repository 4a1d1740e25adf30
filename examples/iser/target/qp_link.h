// The Link over a queue pair: receives, answers, and RDMA through an RwContext and the MR pool.
//
// Thread safety: the reactor's thread. Ownership: the server's, which destroys it from the loop
// once finished().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "examples/iser/target/connection.h"
#include "examples/iser/target/link.h"
#include "examples/iser/target/staging.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/rw.h"

namespace mrpool::iser_target {

// What the connections of one device share.
struct Domain {
  std::shared_ptr<Device> device;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<MrPool> pool;  // null where the device needs none
  std::unique_ptr<Staging> staging;
  RwLimits limits;
  iscsi::Limits negotiation;
};

class QpLink final : public Link, public QpEvents {
 public:
  QpLink(Site& site, Domain& domain, Reactor& reactor);
  ~QpLink();

  absl::Status open(ConnectRequest& request);
  // Nothing is under way: it may be destroyed.
  bool finished() const { return closed_ && connection_->idle(); }
  Connection& connection() { return *connection_; }
  bool closed() const { return closed_; }
  size_t memory_bytes() const;

  // Link.
  Task* take_task() override;
  void release(Task& task) override;
  void release_receive(void* receive) override;
  bool send(std::span<const std::byte> pdu) override;
  bool respond(Task& task, std::optional<Rkey> invalidate) override;
  bool push(Task& task, const RemoteBuffer& to, std::optional<Rkey> invalidate) override;
  bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) override;
  bool take_chunks(Task& task, uint64_t bytes) override;
  void give_chunks(Task& task) override;
  void cancel_chunks(Task& task) override;
  std::span<std::byte> chunk(uint16_t index) override;
  void disconnect() override;
  void drop(std::string_view why) override;
  const std::string& local() const override { return local_; }
  const std::string& peer() const override { return peer_; }
  bool remote_invalidation() const override { return remote_invalidation_; }
  uint16_t read_depth() const override { return qp_->ord(); }
  Nanoseconds now() const override { return reactor_.now(); }

  // QpEvents.
  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

 private:
  struct Receive;
  struct ControlSend;
  struct Slot;
  friend struct Receive;

  absl::Status allocate();
  void post(Receive& receive);
  void message(Receive& receive, const WorkCompletion& wc);
  void half_done(Slot& slot);

  Site& site_;
  Domain& domain_;
  Reactor& reactor_;
  std::string local_;
  std::string peer_;
  bool remote_invalidation_ = false;
  bool closed_ = false;
  uint32_t receive_count_;

  struct Unmap {
    size_t size;
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Unmap> memory_;  // receives, then answers of tasks, then others
  std::unique_ptr<Mr> mr_;
  std::vector<std::unique_ptr<Receive>> receives_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_slots_;
  std::vector<std::unique_ptr<ControlSend>> controls_;
  std::vector<ControlSend*> free_controls_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<Qp> qp_;
  std::unique_ptr<RwContext> rw_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace mrpool::iser_target
