#include "examples/load/options.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/load/pattern.h"

namespace mrpool::load {
namespace {

constexpr std::array<std::string_view, 6> kPatterns{"read",      "write", "randread",
                                                    "randwrite", "rw",    "randrw"};

absl::Status bad(std::string text) { return absl::InvalidArgumentError(text); }

}  // namespace

std::string_view to_string(Pattern pattern) { return kPatterns[size_t(pattern)]; }

void add_options(Args& args, Options& options) {
  args.choice("rw", {kPatterns.begin(), kPatterns.end()}, "the load (default randread)",
              [&options](size_t i) { options.rw = Pattern(i); });
  args.size("bs", "bytes of one I/O (default 4k)", options.bs);
  args.value("iodepth", "N", "I/Os outstanding per job (default 1)", options.iodepth);
  args.value("numjobs", "N", "jobs, each with a queue and a thread of its own (default 1)",
             options.numjobs);
  args.size("offset", "where the region starts (default 0)", options.offset);
  args.size("size", "length of the region (default: to the end)", options.size);
  args.duration("runtime", "how long; without it, one pass over the region", options.runtime);
  args.duration("ramp_time", "unmeasured start of a timed run (default 0)", options.ramp_time);
  args.value("rwmixread", "PERCENT", "share of reads in rw and randrw (default 50)",
             options.rwmixread);
  args.value("rate_iops", "N", "I/Os per second and job at most", options.rate_iops);
  args.choice("verify", {"none", "crc32c"},
              "check every block read, and read back at the end what was written",
              [&options](size_t i) { options.verify = i == 1; });
  args.value("randseed", "N", "seed of offsets and data (default: drawn, and printed)",
             options.randseed);
  args.choice("output-format", {"normal", "json"}, "json has fio's keys (default normal)",
              [&options](size_t i) { options.json = i == 1; });
  args.flag("group_reporting", "one result for all jobs instead of one each",
            options.group_reporting);
  args.choice("eta", {"auto", "always", "never"}, "the live line on stderr (default auto)",
              [&options](size_t i) {
                options.eta = std::array{"auto", "always", "never"}[i];
              });
}

absl::Status finish_options(Options& options, uint64_t device_size, uint32_t block_size) {
  if (options.bs == 0 || options.bs % block_size != 0) {
    return bad(absl::StrCat("--bs ", options.bs, " is not a multiple of the logical block size ",
                            block_size));
  }
  if (options.offset % block_size != 0) {
    return bad(absl::StrCat("--offset ", options.offset,
                            " is not a multiple of the logical block size ", block_size));
  }
  if (options.iodepth == 0) return bad("--iodepth must be at least 1");
  if (options.numjobs == 0) return bad("--numjobs must be at least 1");
  if (options.rwmixread > 100) {
    return bad(absl::StrCat("--rwmixread ", options.rwmixread, " is more than 100 percent"));
  }
  if (options.ramp_time.count() > 0 && options.runtime.count() == 0) {
    return bad("--ramp_time needs --runtime");
  }
  if (options.offset >= device_size) {
    return bad(absl::StrCat("--offset ", options.offset, " is beyond the end at ", device_size));
  }
  const uint64_t room = device_size - options.offset;
  if (options.size == 0) options.size = room;
  if (options.size > room) {
    return bad(absl::StrCat("--offset + --size ends ", options.size - room,
                            " bytes behind the end, which is at ", format_size(device_size)));
  }
  if (options.size / options.bs < options.numjobs) {
    return bad(absl::StrCat("--size ", options.size, " holds ", options.size / options.bs,
                            " blocks of --bs ", options.bs, "; ", options.numjobs,
                            " jobs need at least one each"));
  }
  if (options.verify) {
    if (options.bs < kSmallestBlock) {
      return bad(absl::StrCat("--verify needs --bs of at least ", kSmallestBlock));
    }
    // Eight bytes per block: see content_map.h.
    constexpr uint64_t kMaxBlocks = uint64_t{1} << 27;
    if (options.size / options.bs > kMaxBlocks) {
      return bad(absl::StrCat("--verify keeps a record of each block, and ",
                              options.size / options.bs, " are too many: give --size, at most ",
                              format_size(kMaxBlocks * options.bs)));
    }
  }
  return absl::OkStatus();
}

Region job_region(const Options& options, uint32_t job) {
  const uint64_t blocks = options.size / options.bs;
  if (is_random(options.rw) && !options.verify) {
    return {options.offset, options.offset + blocks * options.bs};
  }
  const uint64_t first = blocks * job / options.numjobs;
  const uint64_t last = blocks * (job + 1) / options.numjobs;
  return {options.offset + first * options.bs, options.offset + last * options.bs};
}

}  // namespace mrpool::load
