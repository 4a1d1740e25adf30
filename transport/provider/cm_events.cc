// Event channels, and how a synchronous id waits for its events.
#include <cerrno>
#include <cstring>

#include "transport/provider/cm.h"

namespace mrpool::provider {

CmChannel* CmChannel::create(Engine& engine) {
  auto* channel = new CmChannel;
  channel->engine = &engine;
  channel->handle = {.abi = {.fd = channel->events.fd()}, .object = channel};
  return channel;
}

int cm_complete(CmId& id) {
  if (!id.synchronous()) return 0;
  cm_forget_event(id);
  rdma_cm_event* event = nullptr;
  if (rdma_get_cm_event(id.abi().channel, &event) != 0) return -1;
  id.abi().event = event;
  if (event->status == 0) return 0;
  const bool refused = event->event == RDMA_CM_EVENT_REJECTED;
  return cm_fail(refused ? ECONNREFUSED : std::abs(event->status));
}

void cm_forget_event(CmId& id) {
  if (id.abi().event == nullptr) return;
  rdma_ack_cm_event(id.abi().event);
  id.abi().event = nullptr;
}

}  // namespace mrpool::provider

using mrpool::provider::cm_fail;
using mrpool::provider::CmChannel;
using mrpool::provider::CmEvent;
using mrpool::provider::CmId;
using mrpool::provider::Engine;
using mrpool::provider::Session;

extern "C" {

rdma_event_channel* rdma_create_event_channel() {
  Engine* engine = Engine::get();
  return engine == nullptr ? nullptr : &CmChannel::create(*engine)->handle.abi;
}

void rdma_destroy_event_channel(rdma_event_channel* abi) {
  CmChannel* channel = CmChannel::from(abi);
  // A thread that sleeps in it goes on sleeping, as in the kernel's file; programs end that way.
  if (channel != nullptr && channel->waiters.load() == 0) delete channel;
}

int rdma_get_cm_event(rdma_event_channel* abi, rdma_cm_event** event) {
  CmChannel* channel = CmChannel::from(abi);
  if (channel == nullptr || event == nullptr) return cm_fail(EINVAL);
  ++channel->waiters;
  for (;;) {
    if (mrpool::provider::wait_for_event(abi->fd) != 0) {
      --channel->waiters;
      return -1;
    }
    const Session session(*channel->engine);
    const auto taken = channel->events.take();
    if (!taken.has_value()) continue;  // taken back; the next one, then
    --channel->waiters;
    CmEvent& out = **taken;
    ++out.counted->events_taken;
    *event = &out.abi;
    if (out.abi.event != RDMA_CM_EVENT_CONNECT_REQUEST) return 0;
    // The new connection of a synchronous listener has a channel of its own.
    CmId& child = *CmId::from(out.abi.id);
    CmChannel* own = child.synchronous() ? CmChannel::create(*channel->engine) : nullptr;
    if (own != nullptr) child.move_to(*own, true);
    return 0;
  }
}

int rdma_ack_cm_event(rdma_cm_event* abi) {
  if (abi == nullptr) return cm_fail(EINVAL);
  auto* event = reinterpret_cast<CmEvent*>(abi);
  {
    const Session session(event->counted->engine());
    ++event->counted->events_acknowledged;
  }
  delete event;
  return 0;
}

int rdma_migrate_id(rdma_cm_id* abi, rdma_event_channel* target) {
  CmId* id = CmId::from(abi);
  if (id == nullptr) return cm_fail(EINVAL);
  const bool synchronous = target == nullptr;
  CmChannel* to = synchronous ? CmChannel::create(id->engine()) : CmChannel::from(target);
  const bool had_own = id->synchronous();
  CmChannel* old = &id->channel();
  mrpool::provider::cm_forget_event(*id);
  {
    const Session session(id->engine());
    id->move_to(*to, synchronous);
  }
  if (had_own) delete old;
  return 0;
}

}  // extern "C"
