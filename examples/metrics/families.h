// The metrics of a daemon, made from a snapshot: names, help texts, types and labels.
//
// docs/operate/metrics.md lists them all; tests/style/coverage.py checks this. Names follow
// Prometheus: base units (seconds, bytes), counters end in _total. If the ceph-nvmeof exporter has
// the same metric, its stem is used (reads_completed_total, read_bytes_total, read_seconds_total
// and so on).
//
// Thread safety: pure.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

std::vector<prometheus::MetricFamily> make_families(const Snapshot& snapshot);

// In the text format of Prometheus; kTextFormat is its content type.
std::string to_text(const std::vector<prometheus::MetricFamily>& families);
inline constexpr const char* kTextFormat = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace mrpool::metrics
