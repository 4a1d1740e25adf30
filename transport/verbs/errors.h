// Errors of libibverbs and the kernel, as messages that name the limit and the fix.
//
// Thread safety: pure, except that locked-memory limits are read from the process.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "mrpool/reactor.h"
#include "mrpool/work.h"

namespace mrpool::verbs {

// "WHAT on DEVICE: strerror".
absl::Status errno_status(int error, std::string_view what, std::string_view device);

// A registration of `bytes` that failed: ResourceExhausted with the locked-memory limit where that
// is the likely reason.
absl::Status registration_status(int error, size_t bytes, std::string_view device);

// A dma-buf that was not registered: Unimplemented where the device registers none, InvalidArgument
// where `fd` is none.
absl::Status dmabuf_status(int error, int fd, std::string_view device);

WcStatus to_status(ibv_wc_status status);
// Of a send request, whose ranges were checked at the post. siw reports every request that it could
// not send as IBV_WC_LOC_QP_OP_ERR, whatever the cause. Here the only remaining cause is a broken
// connection.
WcStatus send_status(ibv_wc_status status, bool siw);

// Aborts when called from another thread than the reactor's.
void check_thread(const Reactor& reactor, const char* call);
// The same for the calls of the data path: in debug builds, and in a process that was started with
// MRPOOL_CHECK_THREADS=1.
void check_post_thread(const Reactor& reactor, const char* call);

// A broken invariant of our own or of the provider.
[[noreturn]] void die(const char* message);

}  // namespace mrpool::verbs
