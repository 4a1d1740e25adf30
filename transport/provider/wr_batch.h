// What a program builds between ibv_wr_start and ibv_wr_complete: a chain of work requests.
//
// Thread safety: one thread between start and the end, as verbs require. Ownership: the QP's.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <deque>
#include <vector>

namespace mrpool::provider {

struct WrBatch {
  struct Item {
    ibv_send_wr wr{};
    std::vector<ibv_sge> sges;
    std::vector<std::byte> inline_data;
  };
  std::deque<Item> items;  // their addresses stay
  int error = 0;           // the first thing that the device lacks

  void clear() {
    items.clear();
    error = 0;
  }
  // The chain for ibv_post_send; null when nothing was built.
  ibv_send_wr* chain();
};

// Sets the functions that ibv_wr_* call.
void fill_wr_functions(ibv_qp_ex& qp);

}  // namespace mrpool::provider
