// What went wrong below, in words that name the limit and the mend.
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

// ResourceExhausted when `wanted` is beyond the device's `limit`, which verbs calls `name`.
absl::Status check_limit(std::string_view name, uint64_t wanted, uint64_t limit,
                         std::string_view device);

WcStatus to_status(ibv_wc_status status);

// Debug builds: aborts when called from another thread than the reactor's.
void check_thread(const Reactor& reactor, const char* call);

// A broken invariant of our own or of the provider.
[[noreturn]] void die(const char* message);

}  // namespace mrpool::verbs
