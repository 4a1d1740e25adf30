// The implementation of Link on a queue pair: receives, answers, and RDMA through an RwContext and
// the MR pool.
//
// A link is dropped when a transfer exceeds the stall time-out plus the time that the link's
// transfers need at the lowest permitted rate (limits.h). It holds staging memory that others wait
// for.
//
// Thread safety: the worker's thread. Ownership: the worker owns it and destroys it once
// finished(). It owns its session.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/early_room.h"
#include "examples/engine/link.h"
#include "examples/engine/link_layout.h"
#include "examples/engine/worker_device.h"
#include "mrpool/device.h"
#include "mrpool/qp.h"
#include "mrpool/rw.h"

namespace mrpool::engine {

class Worker;

class QpLink final : public Link, public QpEvents, public ListHook {
 public:
  QpLink(Worker& worker, WorkerDevice& device, uint64_t id, const LinkLayout& layout,
         const ConnectionInfo& request);
  ~QpLink();

  // Accepts the connection; call set_session() before. On an error the request is rejected, at the
  // latest when it is destroyed.
  absl::Status open(ConnectRequest& request, std::span<const std::byte> private_data);
  void set_session(std::unique_ptr<Session> session) { session_ = std::move(session); }
  Session& session() { return *session_; }

  // No operation is active and none will follow: it may be destroyed.
  bool finished() const { return closed_ && session_->idle(); }
  const LinkLayout& layout() const { return layout_; }
  void tick(Nanoseconds now);

  // Drops the link because another connection needs its place; it no longer counts as a connection.
  void evict();
  bool evicted() const { return evicted_; }
  Nanoseconds began() const { return began_; }
  const std::string& host() const { return host_; }  // as passed to admit()

  // Link.
  bool admit(Standing standing, std::string_view host) override;
  bool read_early(Exchange& exchange, uint32_t offset, const RemoteBuffer& from) override;
  std::span<const std::byte> early_data() const override { return early_->data(); }
  void bind(Exchange& exchange) override;
  void release_receive(Receive& receive) override;
  bool keep_receive(Receive& receive) override;
  void free_receive(Receive& receive) override;
  bool send(std::span<const std::byte> message) override;
  bool respond(Exchange& exchange, const Answer& answer) override;
  bool write(Exchange& exchange, std::span<const Sge> from, const RemoteBuffer& to,
             const Answer* answer) override;
  bool read(Exchange& exchange, std::span<const Sge> to, const RemoteBuffer& from) override;
  void disconnect(std::string_view why) override;
  void drop(std::string_view why) override;
  void session_idle() override;
  Nanoseconds now() const override;
  bool connected() const override { return qp_ != nullptr && qp_->connected(); }
  uint16_t read_depth() const override { return qp_ == nullptr ? uint16_t{0} : qp_->ord(); }

  // QpEvents.
  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

 private:
  friend class Exchange;
  struct PostedReceive;
  struct Message;

  absl::Status allocate();
  PostStatus post(PostedReceive& receive);
  absl::Status add_receive();
  void received(PostedReceive& receive, const WorkCompletion& wc);
  const WorkRequest& prepare(Exchange& exchange, const Answer& answer);
  void begin(Exchange& exchange, uint64_t bytes);
  bool started(Exchange& exchange, PostStatus status);
  bool too_slow(Nanoseconds now) const;
  void transferred(Exchange& exchange, WcStatus status, bool answer_posted);
  void part_done(Exchange& exchange);

  Worker& worker_;
  WorkerDevice& worker_device_;
  const LinkLayout layout_;
  std::string why_;
  Pages pages_;  // receives, answers of exchanges, other messages
  std::unique_ptr<Mr> mr_;
  std::vector<std::unique_ptr<PostedReceive>> receives_;
  std::vector<PostedReceive*> spare_;  // unused ones of receives_: one for each kept before
  std::vector<std::unique_ptr<Message>> messages_;
  std::vector<Message*> free_messages_;
  uint32_t bound_ = 0;        // exchanges
  List<Exchange> transfers_;  // active, the oldest first
  uint64_t moved_ = 0;        // bytes of completed transfers
  Nanoseconds ticked_;        // the last tick(), or the beginning
  const Nanoseconds began_ = ticked_;
  bool evicted_ = false;
  std::string host_;
  std::unique_ptr<Session> session_;
  CqPlaces cq_;
  std::unique_ptr<Qp> qp_;
  std::unique_ptr<EarlyRoom> early_;  // of a stranger, if something is read from it
  std::unique_ptr<RwContext> rw_;     // since admit()
};

}  // namespace mrpool::engine
