// A snapshot in which every part has something.
#pragma once

#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

inline IoTotals example_io(uint64_t n) {
  return {.reads = {n, n * 4096, n * 1000},
          .writes = {2 * n, n * 8192, n * 2000},
          .others = {n, 0, 5},
          .errors = 3,
          .storage = 1};
}

inline Snapshot example_snapshot() {
  Snapshot snapshot{.program = "mrpool-nvmf-target",
                    .version = "1.2.3",
                    .protocol = "nvme",
                    .started_unix_s = 1'700'000'000,
                    .uptime_s = 61,
                    .listening = {"uiwarp://127.0.0.1:4420"},
                    .connections_rejected = 2,
                    .hung_stores = {"file:/srv/disk"}};
  snapshot.workers.push_back(
      {.connections = 3, .chunks = 256, .waits = 7, .wait_ns = 1'500'000'000});
  snapshot.devices.push_back(
      {.name = "uiwarp",
       .counters = {{"crc_errors", 4},
                    {"reads_outstanding_max", 9},
                    {"terminates_sent_mpa_crc", 1},
                    {"terminates_received_mpa_crc", 2}},
       .pool = MrPoolStats{
           .size = 1024, .in_use = 5, .gets = 100, .waits = 2, .wait_ns = 2'500'000'000}});
  snapshot.targets.push_back({.name = "nqn.2026-11.org.mrpool:a",
                              .units = {{.number = 1,
                                         .store = "ram:1MiB",
                                         .uuid = "5f1a",
                                         .blocks = 256,
                                         .block_size = 4096,
                                         .io = example_io(10)}},
                              .counters = {{"media_errors", 1}, {"busy_ns", 2'000'000'000}}});
  snapshot.hosts.push_back({.name = "nqn.host", .connections = 2, .io = example_io(10)});
  snapshot.sessions.push_back({.host = "nqn.host",
                               .target = "nqn.2026-11.org.mrpool:a",
                               .number = 1,
                               .queues = {{0, 32, 0}}});
  snapshot.gateway = GatewayState{.name = "a",
                                  .members = 2,
                                  .reachable = true,
                                  .groups = {{.name = "1",
                                              .owner = "a",
                                              .serves = true,
                                              .term = 7,
                                              .lease_left_ns = 1'500'000'000,
                                              .takeovers = 2,
                                              .losses = 1,
                                              .fences = 3,
                                              .last_takeover_ns = 250'000'000}}};
  snapshot.reads[0].counts[2] = 6;
  snapshot.reads[0].counts[kLatencyBounds] = 1;
  snapshot.reads[0].ns = 3'000'000'000;
  return snapshot;
}

}  // namespace mrpool::metrics
