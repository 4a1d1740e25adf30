#include "examples/load/report.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/base/units.h"

namespace mrpool::load {
namespace {

namespace json = boost::json;

// fio's list.
constexpr std::array kPercentiles{1.0,  5.0,  10.0, 20.0, 30.0, 40.0, 50.0,  60.0, 70.0,
                                  80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99};

double per_second(uint64_t n, std::chrono::nanoseconds runtime) {
  return runtime.count() == 0 ? 0 : double(n) * 1e9 / double(runtime.count());
}

json::object latency_json(const Histogram& h, bool bins) {
  json::object percentiles;
  for (const double p : kPercentiles) percentiles[absl::StrFormat("%.6f", p)] = h.percentile(p);
  json::object latency{{"min", h.min()},   {"max", h.max()},
                       {"mean", h.mean()}, {"stddev", h.stddev()},
                       {"N", h.count()},   {"percentile", std::move(percentiles)}};
  if (!bins) return latency;
  json::object list;
  h.each([&](uint64_t ns, uint64_t samples) { list[absl::StrCat(ns)] = samples; });
  latency["bins"] = std::move(list);
  return latency;
}

json::object direction_json(const DirectionStats& d, std::chrono::nanoseconds runtime, bool bins) {
  const double bandwidth = per_second(d.bytes, runtime);
  return {{"io_bytes", d.bytes},
          {"io_kbytes", d.bytes / 1024},
          {"bw_bytes", uint64_t(bandwidth)},
          {"bw", uint64_t(bandwidth / 1024)},
          {"iops", per_second(d.ios, runtime)},
          {"runtime", uint64_t(runtime.count() / 1'000'000)},
          {"total_ios", d.ios},
          {"clat_ns", latency_json(d.latency, bins)},
          {"lat_ns", latency_json(d.latency, bins)}};
}

json::object options_json(const Options& options) {
  json::object object{{"rw", std::string(to_string(options.rw))},
                      {"bs", absl::StrCat(options.bs)},
                      {"iodepth", absl::StrCat(options.iodepth)},
                      {"numjobs", absl::StrCat(options.numjobs)},
                      {"size", absl::StrCat(options.range.size)},
                      {"offset", absl::StrCat(options.range.offset)},
                      {"runtime", absl::StrCat(options.runtime.count() / 1'000'000'000)},
                      {"rwmixread", absl::StrCat(options.rwmixread.value_or(kDefaultMix))},
                      {"verify", options.verify ? "crc32c" : "none"},
                      {"randseed", absl::StrCat(options.randseed)}};
  // Flags are there or not, as with fio.
  if (options.time_based) object["time_based"] = "";
  if (options.norandommap) object["norandommap"] = "";
  return object;
}

json::object job_json(const Options& options, const JobStats& job, const std::string& name,
                      uint64_t group) {
  const bool bins = options.output_format == OutputFormat::kJsonPlus;
  return {{"jobname", name},
          {"groupid", group},
          {"error", job.io_errors + job.verify_errors == 0 ? 0 : 5},  // EIO, as fio has it
          {"job options", options_json(options)},
          {"read", direction_json(job.direction[0], job.runtime, bins)},
          {"write", direction_json(job.direction[1], job.runtime, bins)},
          {"total_err", job.io_errors + job.verify_errors},
          {"io_errors", job.io_errors},
          {"verified", job.verified},
          {"verify_errors", job.verify_errors},
          {"first_error", job.first_error}};
}

JobStats merged(std::span<const JobStats> jobs) {
  JobStats sum;
  for (const JobStats& job : jobs) sum.merge(job);
  return sum;
}

void add_direction(std::string& text, const char* name, const DirectionStats& d,
                   std::chrono::nanoseconds runtime) {
  if (d.ios == 0) return;
  const auto ns = [](double n) {
    return base::format_duration(std::chrono::nanoseconds(int64_t(n)));
  };
  const Histogram& h = d.latency;
  absl::StrAppend(&text, "  ", name, ": ", base::format_count(per_second(d.ios, runtime)),
                  " IOPS, ", base::format_size(uint64_t(per_second(d.bytes, runtime))), "/s, ",
                  base::format_size(d.bytes), " in ", base::format_duration(runtime), "\n");
  absl::StrAppend(&text, "    latency: avg ", ns(h.mean()), ", min ", ns(double(h.min())), ", max ",
                  ns(double(h.max())), ", stdev ", ns(h.stddev()), "\n   ");
  for (const double p : {50.0, 90.0, 99.0, 99.9, 99.99}) {
    absl::StrAppend(&text, " p", absl::StrFormat("%g", p), " ", ns(double(h.percentile(p))));
  }
  text += '\n';
}

}  // namespace

std::string to_json(const Options& options, std::span<const JobStats> jobs,
                    const ReportContext& context) {
  json::array list;
  if (options.group_reporting) {
    list.push_back(job_json(options, merged(jobs), context.job_name, 0));
  } else {
    for (size_t i = 0; i < jobs.size(); ++i) {
      list.push_back(job_json(options, jobs[i], context.job_name, i));
    }
  }
  const json::object document{
      {"fio version", context.program}, {"jobs", std::move(list)}, {"mrpool", context.own}};
  return json::serialize(document) + "\n";
}

std::string to_text(const Options& options, std::span<const JobStats> jobs) {
  std::string text;
  const auto add = [&](const JobStats& job, const std::string& name) {
    absl::StrAppend(&text, name, ": ", std::string(to_string(options.rw)), ", bs ",
                    base::format_size(options.bs), ", depth ", options.iodepth, "\n");
    add_direction(text, "read", job.direction[0], job.runtime);
    add_direction(text, "write", job.direction[1], job.runtime);
  };
  if (jobs.size() > 1 && !options.group_reporting) {
    for (size_t i = 0; i < jobs.size(); ++i) add(jobs[i], absl::StrCat("job ", i));
  }
  const JobStats all = merged(jobs);
  add(all, jobs.size() > 1 ? absl::StrCat("all ", jobs.size(), " jobs") : "job");
  if (options.verify) {
    absl::StrAppend(&text, "  verify: ", all.verified, " blocks checked, ", all.verify_errors,
                    " verification errors\n");
  }
  if (all.io_errors != 0) absl::StrAppend(&text, "  ", all.io_errors, " I/O errors\n");
  if (!all.first_error.empty()) absl::StrAppend(&text, "  first error: ", all.first_error, "\n");
  return text;
}

std::string LiveLine::tick(std::span<const Progress> jobs, std::chrono::nanoseconds now) {
  uint64_t ios[2] = {};
  uint64_t bytes[2] = {};
  uint64_t errors = 0;
  for (const Progress& job : jobs) {
    for (size_t i = 0; i < 2; ++i) {
      ios[i] += job.ios[i].load(std::memory_order_relaxed);
      bytes[i] += job.bytes[i].load(std::memory_order_relaxed);
    }
    errors += job.errors.load(std::memory_order_relaxed);
  }
  if (first_.count() == 0) first_ = last_ = now - std::chrono::seconds(1);
  const std::chrono::nanoseconds passed = now - last_;
  std::string text = absl::StrCat("[", (now - first_).count() / 1'000'000'000, " s]");
  static constexpr std::array<const char*, 2> kNames{" read ", " write "};
  for (size_t i = 0; i < 2; ++i) {
    if (ios[i] == 0) continue;
    absl::StrAppend(&text, kNames[i], base::format_count(per_second(ios[i] - ios_[i], passed)),
                    " IOPS ", base::format_size(uint64_t(per_second(bytes[i] - bytes_[i], passed))),
                    "/s");
    ios_[i] = ios[i];
    bytes_[i] = bytes[i];
  }
  absl::StrAppend(&text, " errors ", errors);
  last_ = now;
  return text;
}

}  // namespace mrpool::load
