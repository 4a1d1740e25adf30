#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {
namespace {

void add_sum(IoSum& to, const IoSum& from) {
  to.completed += from.completed;
  to.bytes += from.bytes;
  to.ns += from.ns;
}

}  // namespace

void IoTotals::add(const IoTotals& other) {
  add_sum(reads, other.reads);
  add_sum(writes, other.writes);
  add_sum(others, other.others);
  errors += other.errors;
  storage += other.storage;
  slow += other.slow;
  throttled += other.throttled;
  throttled_ns += other.throttled_ns;
}

}  // namespace mrpool::metrics
