// Work requests between C and C++.
//
// Thread safety: functions of their arguments.
#pragma once

#include <cstddef>

#include "mrpool.h"
#include "mrpool/work.h"

namespace mrpool::c {

// The part of a mrpool_cqe after its function. Made by each post: requests of one Qp write the
// same.
struct CqeCompletion final : Completion {
  explicit CqeCompletion(mrpool_qp* of) : Completion(&CqeCompletion::call), qp(of) {}
  static void call(Completion& self, const WorkCompletion& wc);

  mrpool_qp* qp;
};

Completion* completion(mrpool_cqe* cqe, mrpool_qp& qp);

// Converts one request, `from`, to *place, whose next is null. kUnsupported: no such
// opcode; kBadKey: REG_MR without a lease.
PostStatus make_request(const mrpool_send_wr& from, mrpool_qp& qp, WorkRequest* place);
PostStatus make_request(const mrpool_recv_wr& from, mrpool_qp& qp, RecvRequest* place);

}  // namespace mrpool::c
