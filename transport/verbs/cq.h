// Completion queues: polled while there is work, armed when the loop is about to sleep.
//
// A work request id is (owner << 32 | kind << 30 | slot): the owner is a number given out once and
// never again, so an entry of a queue pair that is gone finds nobody.
//
// Thread safety: the reactor's thread.
// Ownership: borrows its sinks; they detach before they go. May be destroyed from inside a
// completion, once no queue pair uses it.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "mrpool/device.h"
#include "transport/checks/limits.h"
#include "transport/verbs/alive.h"
#include "transport/verbs/fd_watch.h"

namespace mrpool::verbs {

class VerbsDevice;

enum class WrKind : uint32_t { kSend = 0, kRecv = 1, kSrq = 2 };

inline constexpr uint32_t kMaxSlots = 1u << 30;
constexpr uint64_t make_wr_id(uint32_t owner, WrKind kind, uint32_t slot) {
  return uint64_t(owner) << 32 | uint64_t(kind) << 30 | slot;
}
constexpr WrKind kind_of(uint64_t wr_id) { return WrKind((wr_id >> 30) & 3); }
constexpr uint32_t slot_of(uint64_t wr_id) { return uint32_t(wr_id) & (kMaxSlots - 1); }
constexpr uint32_t owner_of(uint64_t wr_id) { return uint32_t(wr_id >> 32); }

// A queue pair, as its completion queues see it.
class WcSink {
 public:
  virtual void on_wc(const ibv_wc& wc) = 0;

 protected:
  ~WcSink() = default;
};

class VerbsCq final : public Cq, private Poller, private FdEvents {
 public:
  static absl::StatusOr<std::unique_ptr<VerbsCq>> create(std::shared_ptr<VerbsDevice> device,
                                                         Reactor& reactor,
                                                         const CqOptions& options);
  VerbsCq(std::shared_ptr<VerbsDevice> device, Reactor& reactor, uint32_t depth);
  ~VerbsCq();

  Reactor& reactor() override { return reactor_; }
  ibv_cq* get() const { return cq_; }
  VerbsDevice& device() const { return *device_; }

  // A Qp comes or goes with its share of the depth.
  const checks::CqRoom& room() const { return room_; }
  void take_room(const checks::CqRoom::Share& share) { room_.add(share); }
  void give_room(const checks::CqRoom::Share& share) { room_.remove(share); }

  // From now on entries of `owner`, and those of shared receives on queue pair `number`, go to
  // `sink`.
  void attach(uint32_t owner, uint32_t number, WcSink& sink);
  void detach(uint32_t owner, uint32_t number);
  // Hands over all entries of a queue pair that the device has none in flight of any more; those of
  // others wait for their turn. The last of them may destroy the queue pair, and this after it.
  void drain(uint32_t owner, uint32_t number);

 private:
  // Taken from the device at once: enough to amortise the call, little enough to be fair.
  static constexpr int kBatch = 32;

  bool poll() override;
  bool arm() override;
  void on_readable() override;

  bool fetch();
  WcSink* sink_of(const ibv_wc& wc);

  const std::shared_ptr<VerbsDevice> device_;
  Reactor& reactor_;
  ibv_comp_channel* channel_ = nullptr;
  ibv_cq* cq_ = nullptr;
  std::unique_ptr<FdWatch> watch_;
  bool polled_ = false;
  checks::CqRoom room_;

  // Fetched from the device; [next_, end) is not delivered yet.
  std::vector<ibv_wc> fetched_;
  size_t next_ = 0;
  bool* gone_ = nullptr;

  std::unordered_map<uint32_t, WcSink*> owners_;
  std::unordered_map<uint32_t, WcSink*> numbers_;  // queue pairs with shared receives
  // The owner found last, who often has the next entry too.
  uint32_t last_owner_ = 0;
  WcSink* last_sink_ = nullptr;
};

}  // namespace mrpool::verbs
