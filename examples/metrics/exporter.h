// Exports the daemon's counters to prometheus-cpp: reads them on demand and stores nothing.
//
// Thread safety: that of its source. Ownership: it has a copy of the source.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <utility>
#include <vector>

#include "examples/metrics/families.h"
#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

class Exporter final : public prometheus::Collectable {
 public:
  explicit Exporter(std::function<Snapshot()> source) : source_(std::move(source)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return make_families(source_());
  }

 private:
  const std::function<Snapshot()> source_;
};

}  // namespace mrpool::metrics
