#include "transport/provider/statistics.h"

#include <infiniband/verbs.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mrpool::provider {
namespace {

void add_operation(std::string& out, std::string_view name, const Statistics::Operation& op) {
  absl::StrAppendFormat(&out, "mrpool: %-22s %u, %u bytes\n",
                        absl::string_view(name.data(), name.size()), op.count, op.bytes);
}

void add_count(std::string& out, std::string_view name, uint64_t count) {
  absl::StrAppendFormat(&out, "mrpool: %-22s %u\n", absl::string_view(name.data(), name.size()),
                        count);
}

}  // namespace

std::string Statistics::report() const {
  std::string out;
  add_operation(out, "SENDs", sends);
  add_operation(out, "RDMA WRITEs", writes);
  add_operation(out, "RDMA READs", reads);
  add_operation(out, "atomics", atomics);
  add_operation(out, "receives", receives);
  add_count(out, "failed completions", failed);
  add_count(out, "waits for a receive", receive_waits);
  add_count(out, "connections", connections);
  add_count(out, "CQ entries, high water", cq_depth_high);
  absl::StrAppendFormat(&out, "mrpool: %-22s %u, high water %u, refused %u\n", "MRs", mrs, mrs_high,
                        mrs_refused);
  for (const auto& [flags, count] : asked) {
    absl::StrAppendFormat(&out, "mrpool:   asked for 0x%x%s: %u\n", flags,
                          (flags & IBV_ACCESS_RELAXED_ORDERING) != 0 ? " (relaxed)" : "", count);
  }
  for (const auto& [access, count] : effective) {
    absl::StrAppendFormat(&out, "mrpool:   in force %s: %u\n", to_string(access), count);
  }
  return out;
}

}  // namespace mrpool::provider
