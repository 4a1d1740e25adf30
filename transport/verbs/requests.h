// Work requests on their way to libibverbs: the checks that make a bad one fail at post, and the
// translation.
//
// Thread safety: pure, reads the Pd's table of regions without locks.
#pragma once

#include <infiniband/verbs.h>

#include "mrpool/work.h"

namespace mrpool::verbs {

class VerbsPd;

PostStatus check_recv(const VerbsPd& pd, const RecvRequest& request, uint32_t max_sge);
// `length`: of the message, when it passes.
PostStatus check_send(const VerbsPd& pd, const WorkRequest& request, uint32_t max_sge,
                      uint32_t& length);

// `request` must have passed its check. The scatter list is not copied: libibverbs does so at post.
ibv_recv_wr to_ibv(const RecvRequest& request);
ibv_send_wr to_ibv(const WorkRequest& request);

}  // namespace mrpool::verbs
