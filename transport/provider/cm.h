// What stands for librdmacm's objects: event channel, event, identifier.
//
// Thread safety: under the engine's lock. Ownership: the program's, from create to destroy; events
// from rdma_get_cm_event to rdma_ack_cm_event.
#pragma once

#include <rdma/rdma_cma.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "transport/provider/cm_address.h"
#include "transport/provider/qp_object.h"

// Exported by librdmacm but in none of its headers.
extern "C" void rdma_destroy_srq(rdma_cm_id* id);

namespace mrpool::provider {

class CmId;

struct CmEvent {
  rdma_cm_event abi{};
  CmId* counted = nullptr;                    // whose destruction waits for the acknowledgement
  std::array<std::byte, 256> private_data{};  // abi.param.conn points here
};

struct CmChannel {
  Handle<rdma_event_channel, CmChannel> handle;
  EventQueue<CmEvent*> events;
  Engine* engine = nullptr;
  std::atomic<int> waiters{0};  // threads in rdma_get_cm_event

  static CmChannel* create(Engine& engine);
  static CmChannel* from(rdma_event_channel* abi) {
    return Handle<rdma_event_channel, CmChannel>::from(abi);
  }
};

// For functions of librdmacm, which return -1 and set errno.
inline int cm_fail(int error) {
  errno = error;
  return -1;
}

// The context that librdmacm opens for the device; null with errno.
ibv_context* cm_context();
// The protection domain of ids whose program names none; null with errno.
ibv_pd* cm_pd();

class CmId final : public ConnectionObserver, public ListenHandler {
 public:
  CmId(Engine& engine, CmChannel& channel, bool synchronous, void* context, rdma_port_space space);
  ~CmId();
  static CmId* from(rdma_cm_id* abi) { return Handle<rdma_cm_id, CmId>::from(abi); }

  rdma_cm_id& abi() { return handle_.abi; }
  Engine& engine() { return engine_; }
  bool synchronous() const { return synchronous_; }
  CmChannel& channel() { return *channel_; }

  // 0 or an errno.
  int bind(const sockaddr& address);
  int resolve(const sockaddr* source, const sockaddr& target);
  int listen();
  int connect(const rdma_conn_param* param);
  int accept(const rdma_conn_param* param);
  int reject(std::span<const std::byte> private_data);
  // `waits`: a DISCONNECTED event follows.
  int disconnect(bool& waits);
  void move_to(CmChannel& channel, bool synchronous);
  // Takes back what nobody has fetched; true when nothing that was fetched is unacknowledged.
  void drop_events();
  bool acknowledged() const { return events_taken == events_acknowledged; }

  std::unique_ptr<CmEvent> make_event(rdma_cm_event_type type, int status,
                                      std::span<const std::byte> data);
  void push(rdma_cm_event_type type, int status = 0, std::span<const std::byte> data = {});

  uint32_t events_taken = 0;
  uint32_t events_acknowledged = 0;
  std::optional<ibv_qp_init_attr> qp_attr;  // of rdma_create_ep, for a listener's connections
  bool owns_cqs = false;
  uint8_t ack_timeout = 0;

 private:
  void on_established(std::span<const std::byte> private_data, const ConnectionInfo* info) override;
  void on_rejected(std::span<const std::byte> private_data) override;
  void on_ended(bool was_established, DisconnectReason reason) override;
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;

  // The QP that the program made for the id, or named by its number.
  QpObject* qp_for(const rdma_conn_param* param);
  void set_local(const sockaddr* address);
  void take(QpObject& qp);

  Handle<rdma_cm_id, CmId> handle_;
  Engine& engine_;
  CmChannel* channel_;
  bool synchronous_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<ConnectRequest> request_;
  std::optional<Hello> hello_;
  uint16_t offered_ord_ = 0;
  uint16_t offered_ird_ = 0;
  bool resolved_ = false;
  bool rejected_ = false;
  bool was_connected_ = false;
  QpObject* connected_ = nullptr;  // whose observer this is
};

// Waits for the outcome of a call on a synchronous id, as librdmacm does; 0 at once on others.
int cm_complete(CmId& id);
// Acknowledges what an earlier call on a synchronous id left in it.
void cm_forget_event(CmId& id);

}  // namespace mrpool::provider
