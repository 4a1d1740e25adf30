// What is posted differently because the device is siw (Linux 6.1), the kernel's iWARP over TCP.
//
// Its driver has two ways to send the wrong bytes of a program that follows the rules of verbs, or
// to end a connection over a request that is in order:
//
// 1. The payload of a SEND or WRITE of a page or more that is not signalled goes to TCP by
// reference.
//    Nothing then says when TCP is done with the pages: a later completion of the same queue only
//    says that siw has passed that later request on. A program that uses the buffer again changes
//    what is still to be sent, or sent again, and the CRC no longer fits. Of a signalled request
//    siw copies the payload.
//
// 2. The payload of a SEND or WRITE of one range of up to 32 bytes is copied into the header's
// buffer:
//    through the caller's address space inside the system call, from the registered pages in siw's
//    own thread. That thread is woken after 100 segments in a row and when a full socket has room
//    again. It may start before the system call has noted that it is over, then reads the address
//    space it does not have, fails with EFAULT and ends the connection. A list of two ranges never
//    takes this path; the second may be empty.
//
// Thread safety: pure. Ownership: borrows the list that it puts into a request.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace mrpool::verbs::siw {

inline constexpr uint32_t kVendor = 0x626d74;
// Sges of a send queue: a list of one range may need a second.
inline constexpr uint32_t kMinSendSges = 2;
// The smallest page there is, so also that of machines with larger ones.
inline constexpr uint32_t kByReferenceBytes = 4096;
inline constexpr uint32_t kIntoHeaderBytes = 32;

// `list` must stay until the request was posted.
inline void adapt(ibv_send_wr& request, uint32_t length, ibv_sge (&list)[2]) {
  if (request.opcode != IBV_WR_SEND && request.opcode != IBV_WR_SEND_WITH_INV &&
      request.opcode != IBV_WR_RDMA_WRITE) {
    return;
  }
  if (length >= kByReferenceBytes) request.send_flags |= IBV_SEND_SIGNALED;
  if (request.num_sge == 1 && length > 0 && length <= kIntoHeaderBytes) {
    list[0] = request.sg_list[0];
    list[1] = {};
    request.sg_list = list;
    request.num_sge = 2;
  }
}

}  // namespace mrpool::verbs::siw
