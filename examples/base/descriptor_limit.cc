#include "examples/base/descriptor_limit.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::base {
namespace {

bool mentions(std::string_view message, int error) {
  return message.find(std::strerror(error)) != message.npos;
}

}  // namespace

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // refused: it stays as it was
}

std::string name_missing_descriptors(std::string_view message) {
  std::string text(message);
  rlimit limit{};
  if (text.find("ulimit -n") != text.npos) return text;
  if (mentions(message, ENFILE)) {
    text += "; the system has no file descriptor left: raise fs.file-max, or end what uses them";
  } else if (mentions(message, EMFILE) && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    absl::StrAppend(&text, "; no file descriptor is left of the ", uint64_t{limit.rlim_cur},
                    " that this process may have: raise the limit (ulimit -n, LimitNOFILE= of "
                    "systemd)");
  }
  return text;
}

}  // namespace mrpool::base
