// What stands for libibverbs' objects: context, channel, Pd, Mr, Cq, Srq. The QP has qp_object.h.
//
// Thread safety: under the engine's lock, but for what is constant.
// Ownership: the program's, from its create call to its destroy call.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "mrpool/callback.h"
#include "transport/checker/checker.h"
#include "transport/provider/command_file.h"
#include "transport/provider/completion_order.h"
#include "transport/provider/engine.h"
#include "transport/provider/event_queue.h"
#include "transport/provider/handle.h"

namespace mrpool::provider {

using checker::Checker;

// Notifies the checker, if there is one, of an object that the program made or ended.
template <class Abi>
Abi* told_made(const char* type, Abi* object) {
  if (Checker* checker = Checker::get(); checker != nullptr && object != nullptr) [[unlikely]] {
    checker->made(type, object);
  }
  return object;
}
inline void tell_ended(const void* object) {
  if (Checker* checker = Checker::get()) [[unlikely]]
    checker->ended(object);
}

// The address of the device, as its QPs are reached: the GID of each index.
std::vector<ibv_gid> local_gids();

// The structure that inline calls of <infiniband/verbs.h> reach their functions through.
struct ContextObject {
  explicit ContextObject(Engine& owner) : ContextObject(owner, std::nullopt) {}
  // `command_fd`: of another context (command_file.h), whose objects can be imported into this one.
  ContextObject(Engine& owner, std::optional<int> command_fd);
  ~ContextObject();
  static ContextObject* from(ibv_context* context);

  Engine& engine;
  CommandFile file;
  EventQueue<ibv_async_event> async;
  struct Abi {
    verbs_context abi{};
    ContextObject* object = nullptr;
  } handle;
  ibv_context* abi() { return &handle.abi.context; }
};

// The one device; programs may look at what is after the ABI's structure (mlx5dv does).
ibv_device* device_abi();

struct ChannelObject {
  Handle<ibv_comp_channel, ChannelObject> handle;
  EventQueue<ibv_cq*> events;
  Engine* engine = nullptr;
};

struct MrObject;
class QpObject;

struct PdObject {
  Handle<ibv_pd, PdObject> handle;
  Engine* engine = nullptr;
  std::shared_ptr<Pd> pd;
  size_t users = 0;
  // By lkey. Shared with nobody but looked at for each READ and each zero-based region.
  std::unordered_map<uint32_t, MrObject*> mrs;
  size_t zero_based = 0;

  // Where the program's `sge` is. READ sinks get a key with the right that the device wants.
  std::optional<Sge> translate(const ibv_sge& sge, bool read_sink);
};

struct MrObject {
  Handle<ibv_mr, MrObject> handle;
  PdObject* pd = nullptr;
  Access access = Access::kNone;
  bool zero_based = false;
  std::unique_ptr<Mr> mr;
  // On iWARP the peer writes the sink of a READ, so the sink needs a right that programs written
  // for InfiniBand do not ask for. This second key, made at the first READ into the region, has it.
  std::unique_ptr<Mr> sink;
};

struct CqObject {
  // A plain CQ is the front part of an extended one.
  Handle<ibv_cq_ex, CqObject> handle;
  static CqObject* from(ibv_cq* cq) {
    return Handle<ibv_cq_ex, CqObject>::from(reinterpret_cast<ibv_cq_ex*>(cq));
  }
  ibv_cq* abi() { return ibv_cq_ex_to_cq(&handle.abi); }
  Engine* engine = nullptr;
  ChannelObject* channel = nullptr;
  size_t users = 0;
  enum class Arm : uint8_t { kNo, kSolicited, kAny } armed = Arm::kNo;
  uint32_t events_taken = 0;  // by ibv_get_cq_event

  // A ring of a power of two of entries; grows instead of overrunning.
  std::vector<ibv_wc> ring;
  size_t head = 0;
  size_t count = 0;
  CompletionOrder order;  // under the checker
  // QPs whose end waits until the program has polled what succeeded before it.
  std::vector<QpObject*> ending;

  // What the program asked for.
  size_t capacity() const { return static_cast<size_t>(handle.abi.cqe); }
  void push(const ibv_wc& wc, bool solicited);
  int pop(int entries, ibv_wc* wc);
  // The program has yet to poll a success of that QP.
  bool holds_success(uint32_t qp_num) const;
  // Drops the entries of a QP that is destroyed.
  void purge(uint32_t qp_num);
  void arm(bool solicited_only);
  void disarm();

  // Between start_poll and end_poll of an extended CQ: what is looked at, and who may look.
  ibv_wc current{};
  std::mutex polling;
  bool single_threaded = false;
};

// What both ways to create a CQ share; null with errno.
CqObject* make_cq(ibv_context* abi, uint32_t entries, void* cq_context, ibv_comp_channel* channel,
                  uint32_t vector);

struct SrqObject;

// A receive on its way. Those of an Srq are in its pool, those of a QP in its ring.
struct ReceiveEntry final : Completion {
  ReceiveEntry() : Completion(to_method<&ReceiveEntry::completed>) {}
  void completed(const WorkCompletion& wc);
  SrqObject* srq = nullptr;
  QpObject* qp = nullptr;
  uint64_t wr_id = 0;
  std::vector<Sge> sges;
  bool posted = false;
  bool no_memory = false;  // the device has one without memory in its place
};

struct SrqObject {
  Handle<ibv_srq, SrqObject> handle;
  PdObject* pd = nullptr;
  std::shared_ptr<Pd> device_pd;
  std::unique_ptr<Srq> srq;
  uint32_t limit = 0;
  uint32_t max_sge = 0;
  size_t users = 0;
  uint32_t events_taken = 0;
  std::vector<ReceiveEntry> entries;
  std::vector<ReceiveEntry*> free;
  bool gone = false;  // flushing inside the destructor

  void completed(ReceiveEntry& entry, const WorkCompletion& wc);
};

// The number that programs see for a status of the device.
ibv_wc_status to_ibv(WcStatus status);

inline Engine& engine_of(ibv_context* context) { return ContextObject::from(context)->engine; }

// For ABI functions that return an errno, and for those that return a pointer.
inline int fail(int error) {
  errno = error;
  return error;
}
inline std::nullptr_t fail_null(int error) {
  errno = error;
  return nullptr;
}
// The errno that stands for a status of set-up.
int to_errno(const absl::Status& status);

}  // namespace mrpool::provider
