// libibverbs and librdmacm without a kernel: the functions that the verbs transport calls, as far
// as its tests need them, on a device that the test controls. Linked into a
// test program, they take the place of the libraries' own.
//
// Thread safety: one thread. Ownership: one FakeRdma at a time; it outlives what is made on it.
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <deque>
#include <functional>
#include <set>
#include <vector>

namespace mrpool::verbs::testing {

// A request as it came to the device, with a copy of its list.
struct PostedSend {
  ibv_send_wr wr;
  std::vector<ibv_sge> sges;
};

// What ibv_post_send answers to a chain: how many requests it queues and what it returns.
struct PostAnswer {
  size_t taken;
  int error;
  bool names_bad;  // *bad_wr is set to the first that was not taken
};

class FakeRdma {
 public:
  FakeRdma();
  ~FakeRdma();
  static FakeRdma& get();

  rdma_cm_id* new_id(rdma_event_channel* channel, void* context);
  // An event that the next rdma_get_cm_event of the id's channel returns.
  void raise(rdma_cm_id* id, rdma_cm_event_type type, rdma_cm_id* listener = nullptr);
  // A completion of a queue pair's send queue.
  void complete(uint64_t wr_id, ibv_wc_status status);

  ibv_device device{};
  ibv_context context{};
  ibv_device_attr attributes{};

  // What the transport did.
  std::deque<PostedSend> sends;
  ibv_qp_init_attr qp_attributes{};
  int rejected = 0;
  bool used_a_dead_channel = false;
  std::set<const rdma_event_channel*> channels;  // those that are there
  rdma_cm_id* last_id = nullptr;

  // What the device does.
  std::function<PostAnswer(size_t count)> answer;  // null: takes all
  std::function<void(rdma_cm_event&)> on_ack;
  std::function<void()> on_destroy_qp;
  int create_qp_error = 0;

  std::deque<rdma_cm_event*> events;
  std::deque<ibv_wc> completions;  // of all completion queues
};

}  // namespace mrpool::verbs::testing
