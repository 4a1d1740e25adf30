#include "examples/load/options.h"

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/load/pattern.h"

namespace mrpool::load {
namespace {

constexpr std::array<std::string_view, 6> kPatterns{"read",      "write", "randread",
                                                    "randwrite", "rw",    "randrw"};

constexpr const char* kNotes =
    R"(A load makes one pass over the region and uses each block once. --runtime ends it early; with
--time_based it makes further passes until then. With --norandommap random offsets are independent,
so a pass may use a block several times. With --verify every block has a CRC32C, its place and the
number of its write: damaged, misplaced and stale data are distinguished, and all written blocks
are read back at the end. Jobs of sequential and of verified loads each use their own slice of the
region.
)";

absl::Status bad(std::string text) { return absl::InvalidArgumentError(text); }

}  // namespace

std::string_view to_string(Pattern pattern) { return kPatterns[size_t(pattern)]; }

void add_options(base::CommandLine& command, Options& options, const Limits& limits) {
  std::vector<std::pair<std::string, Pattern>> patterns;
  for (size_t i = 0; i < kPatterns.size(); ++i) patterns.emplace_back(kPatterns[i], Pattern(i));
  command.section("Load");
  command.choice("rw", "the load", options.rw, std::move(patterns));
  command.size("bs", "bytes of one I/O", options.bs, {.least = 1});
  command.count("iodepth", "I/Os outstanding per job", options.iodepth,
                {.least = 1, .most = limits.iodepth});
  command.count("numjobs", "jobs, each with a queue of its own", options.numjobs,
                {.least = 1, .most = limits.numjobs});
  add_options(command, options.range, "where the region starts",
              "length of the region (default: to the end)");
  command.duration("runtime", "how long at most (default: no limit)", options.runtime);
  command.flag("time_based", "repeat the region until --runtime has passed", options.time_based);
  command.flag("norandommap", "draw random offsets independently; blocks may repeat",
               options.norandommap);
  command.duration("ramp_time", "unmeasured start of a timed run", options.ramp_time);
  command.count("rwmixread",
                absl::StrCat("percentage of reads in rw and randrw (default ", kDefaultMix, ")"),
                options.rwmixread, {.most = 100});
  command.count("rate_iops", "I/Os per second and job at most (default: no limit)",
                options.rate_iops);
  command.choice<bool>(
      "verify", "check every block that is read, and read back all written blocks at the end",
      options.verify, {{"none", false}, {"crc32c", true}});
  command.count("randseed", "seed of offsets and data (default: drawn, and printed)",
                options.randseed);
  command.section("Report");
  command.choice<OutputFormat>("output-format",
                               "json has fio's keys, json+ the latency histogram too",
                               options.output_format,
                               {{"normal", OutputFormat::kNormal},
                                {"json", OutputFormat::kJson},
                                {"json+", OutputFormat::kJsonPlus}});
  command.flag("group_reporting", "one result for all jobs instead of one each",
               options.group_reporting);
  command.choice<std::string>("eta", "the live line on stderr; auto: on a terminal", options.eta,
                              {{"auto", "auto"}, {"always", "always"}, {"never", "never"}});
  command.notes(kNotes);
}

absl::Status finish_options(Options& options, uint64_t device_size, uint32_t block_size) {
  if (options.bs == 0 || options.bs % block_size != 0) {
    return bad(
        absl::StrCat("--bs ", options.bs, " is not a multiple of the block size ", block_size));
  }
  const absl::Status fits = check_range(options.range, device_size, block_size);
  if (!fits.ok()) return fits;
  if (options.ramp_time.count() > 0 && options.runtime.count() == 0) {
    return bad("--ramp_time needs --runtime");
  }
  if (options.rwmixread && !is_mixed(options.rw)) {
    return bad(absl::StrCat("--rwmixread is for --rw rw and randrw; --rw ",
                            std::string(to_string(options.rw)), " mixes nothing, leave it out"));
  }
  if (options.time_based && options.runtime.count() == 0)
    return bad("--time_based needs --runtime");
  options.range.size = options.range.bytes(device_size);
  if (options.range.size / options.bs < options.numjobs) {
    return bad(absl::StrCat("--size ", options.range.size, " holds ",
                            options.range.size / options.bs, " blocks of --bs ", options.bs, "; ",
                            options.numjobs, " jobs need at least one each"));
  }
  if (options.verify) {
    if (options.bs < kSmallestBlock) {
      return bad(absl::StrCat("--verify needs --bs of at least ", kSmallestBlock));
    }
    // Eight bytes per block: see content_map.h.
    constexpr uint64_t kMaxBlocks = uint64_t{1} << 27;
    if (options.range.size / options.bs > kMaxBlocks) {
      return bad(absl::StrCat(
          "--verify keeps a record of each block, and ", options.range.size / options.bs,
          " are too many: give --size, at most ", base::format_size(kMaxBlocks * options.bs)));
    }
  }
  return absl::OkStatus();
}

absl::Status check_mrs(uint32_t iodepth, uint32_t numjobs, uint64_t needed,
                       const DeviceCaps& caps) {
  if (caps.registration != Registration::kFastReg || needed <= caps.max_mr) return absl::OkStatus();
  return bad(absl::StrCat("--iodepth ", iodepth, " and --numjobs ", numjobs, " need ", needed,
                          " memory regions, and ", caps.name, " has ", caps.max_mr,
                          "; ask for less of either"));
}

Region job_region(const Options& options, uint32_t job) {
  const uint64_t blocks = options.range.size / options.bs;
  if (is_random(options.rw) && !options.verify) {
    return {options.range.offset, options.range.offset + blocks * options.bs};
  }
  const uint64_t first = blocks * job / options.numjobs;
  const uint64_t last = blocks * (job + 1) / options.numjobs;
  return {options.range.offset + first * options.bs, options.range.offset + last * options.bs};
}

}  // namespace mrpool::load
