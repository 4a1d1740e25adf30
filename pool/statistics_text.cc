// The statistics as text: one line "NAME VALUE" a counter.
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "mrpool/mr_pool.h"
#include "mrpool/statistics.h"

namespace mrpool {
namespace {

template <typename Statistics>
std::string lines_of(const Statistics& statistics) {
  std::string out;
  for_each(statistics, [&](std::string_view name, uint64_t value) {
    absl::StrAppend(&out, absl::string_view(name.data(), name.size()), " ", value, "\n");
  });
  return out;
}

}  // namespace

std::string to_text(const TransportStatistics& statistics) { return lines_of(statistics); }

std::string to_text(const PdStatistics& statistics) { return lines_of(statistics); }

std::string to_text(const MrPoolStats& stats) {
  return absl::StrCat("size ", stats.size, "\nin_use ", stats.in_use, "\nhigh_water ",
                      stats.high_water, "\nin_repair ", stats.in_repair, "\ngets ", stats.gets,
                      "\nexhaustions ", stats.exhaustions, "\nwaits ", stats.waits, "\nrepairs ",
                      stats.repairs, "\nwait_ns ", stats.wait_ns, "\n");
}

}  // namespace mrpool
