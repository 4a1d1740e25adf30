// What a core dump of this process holds: nothing of the memory that has data of hosts, unless it
// was asked for.
//
// Thread safety: set_core_dump: the main thread, before memory is made; keep_out_of_core_dump: any
// thread. Ownership: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mrpool::base {

enum class CoreDump : uint8_t {
  kNone,         // none is written, and no process of the same user may look into this one
  kWithoutData,  // without what keep_out_of_core_dump() was given
  kFull,
};

// From now on.
void set_core_dump(CoreDump what);
// After a change of the user, which ends core dumps: restores the setting of set_core_dump().
void renew_core_dump();

// Whole pages, right after they were mapped. No effect with kFull.
void keep_out_of_core_dump(std::span<std::byte> pages);

}  // namespace mrpool::base
