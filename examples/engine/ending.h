// Why a link ended, in one line for the log.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <string_view>

#include "mrpool/qp.h"

namespace mrpool::engine {

// For example "connection reset: Connection reset by peer": the kind of the end, then `why`, the
// argument of drop(). Without `why`, the transport's detail is used if there is one.
inline std::string ending(const Disconnect& how, std::string_view why) {
  std::string text(to_string(how.reason));
  const std::string_view detail = why.empty() ? how.detail : why;
  if (!detail.empty()) text.append(": ").append(detail);
  return text;
}

}  // namespace mrpool::engine
