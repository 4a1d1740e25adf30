#include "transport/checker/symbols.h"

#include <backtrace.h>
#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/match.h"

namespace mrpool::checker {
namespace {

void ignore(void*, const char*, int) {}

// Of this process, also when its main thread has ended; null: libbacktrace looks for it.
const char* own_file() {
  constexpr const char* kFile = "/proc/thread-self/exe";
  return ::access(kFile, R_OK) == 0 ? kFile : nullptr;
}

backtrace_state* state() {
  static backtrace_state* const made = ::backtrace_create_state(own_file(), 1, &ignore, nullptr);
  return made;
}

std::string demangled(const char* name) {
  int status = 0;
  char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string out = status == 0 ? readable : name;
  std::free(readable);
  return out;
}

bool is_inline_call(absl::string_view file) {
  return absl::EndsWith(file, "/infiniband/verbs.h") || absl::EndsWith(file, "/rdma/rdma_verbs.h");
}

int add_line(void* out, uintptr_t, const char* file, int line, const char* function) {
  if (file == nullptr || is_inline_call(file)) return 0;
  Frame frame;
  frame.file = file;
  frame.line = line;
  if (function != nullptr) frame.function = demangled(function);
  static_cast<std::vector<Frame>*>(out)->push_back(std::move(frame));
  return 0;
}

void add_symbol(void* out, uintptr_t, const char* name, uintptr_t, uintptr_t) {
  if (name != nullptr) static_cast<Frame*>(out)->function = demangled(name);
}

}  // namespace

std::vector<Frame> resolve(const Stack& stack) {
  std::vector<Frame> out;
  for (const uintptr_t pc : stack.frames()) {
    const size_t first = out.size();
    ::backtrace_pcinfo(state(), pc, &add_line, &ignore, &out);
    Dl_info object{};
    const bool known = ::dladdr(reinterpret_cast<void*>(pc), &object) != 0;
    if (out.size() == first) {
      Frame frame;
      ::backtrace_syminfo(state(), pc, &add_symbol, &ignore, &frame);
      if (frame.function.empty() && known && object.dli_sname != nullptr) {
        frame.function = demangled(object.dli_sname);
      }
      out.push_back(std::move(frame));
    }
    for (size_t i = first; known && i < out.size(); ++i) {
      out[i].object = object.dli_fname;
      out[i].offset = pc - reinterpret_cast<uintptr_t>(object.dli_fbase);
    }
    if (out.back().function == "main") break;  // what calls it is the C library's
  }
  return out;
}

}  // namespace mrpool::checker
