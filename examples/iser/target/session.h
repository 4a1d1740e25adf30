// Implements the Link of a Connection on the engine's link: tasks are exchanges, and their chunks
// are claims of the worker's staging memory.
//
// Thread safety: the worker's thread. Ownership: the engine's link owns it; owns the tasks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/engine/link.h"
#include "examples/engine/link_layout.h"
#include "examples/engine/worker.h"
#include "examples/iser/target/connection.h"
#include "examples/iser/target/link.h"
#include "examples/iser/target/site.h"

namespace mrpool::iser_target {

class Session final : public engine::Session, public Link {
 public:
  Session(Site& site, SiteWorker& site_worker, engine::Worker& worker, engine::Link& link,
          const iscsi::Limits& limits, bool remote_invalidation);
  ~Session() override;

  // The buffers of a connection with these limits.
  static engine::LinkLayout layout(const iscsi::Limits& limits);

  // engine::Session.
  void received(engine::Receive& receive, std::span<std::byte> message) override;
  void transferred(engine::Exchange& exchange, bool success) override;
  void sent(engine::Exchange& exchange) override;
  void disconnected(const Disconnect& how, std::string_view why) override;
  bool idle() const override { return connection_.idle(); }
  void tick(Nanoseconds now) override;
  void linger(Nanoseconds now) override;
  void stop() override { disconnect(); }

  // Link.
  Task* take_task() override;
  void release(Task& task) override;
  void release_receive(void* receive) override;
  bool send(std::span<const std::byte> pdu) override;
  bool respond(Task& task, std::optional<Rkey> invalidate) override;
  bool push(Task& task, const RemoteBuffer& to, std::optional<Rkey> invalidate) override;
  bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) override;
  bool admit(std::string_view initiator) override;
  void entered(const std::string& initiator, const std::string& target, uint16_t tsih,
               uint16_t cid) override;
  engine::IoAccount* account(const std::string& initiator, const std::string& target,
                             uint16_t lun) override;
  bool take_chunks(Task& task, uint64_t bytes) override;
  void give_chunks(Task& task) override;
  void executing(Task& task) override;
  void executed(Task& task) override;
  void cancel_chunks(Task& task) override;
  std::span<std::byte> chunk(uint16_t index) override;
  void disconnect() override;
  void drop(std::string_view why) override;
  const std::string& local() const override { return link().local(); }
  const std::string& peer() const override { return link().peer(); }
  bool remote_invalidation() const override { return remote_invalidation_; }
  uint16_t read_depth() const override { return link().read_depth(); }
  Nanoseconds now() const override { return link().now(); }

 private:
  struct Slot;

  std::string described(const std::string& ending);
  void grow();
  engine::StagingFlow& flow_of(const Task& task);
  void chunks_taken(Slot& slot);
  engine::Answer answer(Slot& slot, std::optional<Rkey> invalidate);

  Site& site_;
  engine::Staging& staging_;
  engine::IoAccounts& counts_;
  const uint32_t worker_;
  std::map<uint16_t, std::shared_ptr<engine::IoAccount>> accounts_;  // by LUN
  std::shared_ptr<void> entry_;                                      // in the list of sessions
  const bool remote_invalidation_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_slots_;
  std::shared_ptr<engine::StagingFlow>
      answers_;  // for commands that the target answers itself; since admit()
  Connection connection_;
};

}  // namespace mrpool::iser_target
