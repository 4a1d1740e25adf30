// Results for people and, with fio's keys, for the programs that read fio's JSON.
//
// Thread safety: pure.
#pragma once

#include <boost/json/object.hpp>
#include <span>
#include <string>
#include <vector>

#include "examples/load/options.h"
#include "examples/load/stats.h"

namespace mrpool::load {

// The part of a report that is about the program and not the jobs.
struct ReportContext {
  std::string program;      // "mrpool-nvmf 0.1.0"
  std::string job_name;     // "perf"
  boost::json::object own;  // goes under the key "mrpool"
};

// One entry per job, or one for all with options.group_reporting. Keys as fio 3 has them:
// jobs[].read|write.{io_bytes,bw_bytes,bw,iops,runtime,total_ios}, .clat_ns and .lat_ns
// {min,max,mean,stddev,N,percentile{"50.000000",...}}; clat and lat are the same here, because an
// I/O is submitted where it is started. json+ adds .bins {latency: number of I/Os}.
std::string to_json(const Options& options, std::span<const JobStats> jobs,
                    const ReportContext& context);

std::string to_text(const Options& options, std::span<const JobStats> jobs);

// The line that is rewritten while a load runs; call it once per tick.
class LiveLine {
 public:
  std::string tick(std::span<const Progress> jobs, std::chrono::nanoseconds now);

 private:
  std::chrono::nanoseconds last_{0};
  std::chrono::nanoseconds first_{0};
  uint64_t ios_[2] = {};
  uint64_t bytes_[2] = {};
};

}  // namespace mrpool::load
