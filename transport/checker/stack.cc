#include "transport/checker/stack.h"

#include <dlfcn.h>
#include <link.h>
#include <unwind.h>

namespace mrpool::checker {
namespace {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool holds(uintptr_t pc) const { return pc >= begin && pc < end; }
};

int find_own(dl_phdr_info* object, size_t, void* out) {
  const auto here = reinterpret_cast<uintptr_t>(&find_own);
  for (const ElfW(Phdr) & part : std::span(object->dlpi_phdr, object->dlpi_phnum)) {
    const Range range{object->dlpi_addr + part.p_vaddr,
                      object->dlpi_addr + part.p_vaddr + part.p_memsz};
    if (part.p_type != PT_LOAD || !range.holds(here)) continue;
    *static_cast<Range*>(out) = range;
    return 1;
  }
  return 0;
}

// The code of this object.
const Range& own_code() {
  static const Range range = [] {
    Range found;
    ::dl_iterate_phdr(&find_own, &found);
    return found;
  }();
  return range;
}

struct Walk {
  Stack* to;
  uintptr_t after = 0;  // skips everything down to this frame
};

_Unwind_Reason_Code visit(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  int before_call = 0;
  uintptr_t pc = ::_Unwind_GetIPInfo(context, &before_call);
  if (pc == 0 || walk.to->frames().size() == Stack::kMaxFrames) return _URC_END_OF_STACK;
  if (walk.after != 0 && pc != walk.after) return _URC_NO_REASON;
  walk.after = 0;
  // A return address may belong to the next line already.
  if (before_call == 0) --pc;
  if (walk.to->empty() && own_code().holds(pc)) return _URC_NO_REASON;
  walk.to->push(pc);
  return _URC_NO_REASON;
}

}  // namespace

Stack Stack::capture() {
  Stack out;
  Walk walk{.to = &out};
  ::_Unwind_Backtrace(&visit, &walk);
  return out;
}

Stack Stack::capture_from(uintptr_t pc) {
  Stack out;
  Walk walk{.to = &out, .after = pc};
  ::_Unwind_Backtrace(&visit, &walk);
  if (out.empty()) out.push(pc);
  return out;
}

}  // namespace mrpool::checker
