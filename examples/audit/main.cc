// mrpool-audit DEVICE: does a device's access control hold?
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include "examples/audit/audit.h"
#include "examples/audit/canary.h"

namespace {

constexpr const char* kHelp =
    R"(mrpool-audit: what a device's keys give, and that they give nothing more

  mrpool-audit [options] DEVICE

  DEVICE                  uiwarp:// or verbs://10.0.0.1 (the address of an RDMA device)
  --output-format FORMAT  table (default), json or markdown
  --output FILE           write there instead of to the standard output
  --canary RULE           break one rule on purpose, to see it caught; "list" names the rules

Every access flag and forbidden combination is asked for; then each rule of the contract is tried
with real traffic between two ends on this machine.

Exit status: 0 every rule holds, 1 the device breaks one, 2 the audit itself could not run.

  mrpool-audit uiwarp://
  mrpool-audit --output-format json --output rxe0.json verbs://10.0.0.1
  mrpool-audit --canary fast-bound uiwarp://
)";

int fail(const std::string& problem) {
  std::fprintf(stderr, "mrpool-audit: %s\n", problem.c_str());
  return 2;
}
int fail(const absl::Status& status) { return fail(std::string(status.message())); }
int usage(const std::string& problem) { return fail(problem + " (see --help)"); }

// The exit status, unless what was printed could not be written.
int end_of_output(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  return fail(std::string("cannot write the output: ") + std::strerror(errno));
}

}  // namespace

int main(int argc, char** argv) {
  std::string uri, format = "table", output, canary;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    std::string* value = argument == "--output-format" ? &format
                         : argument == "--output"      ? &output
                         : argument == "--canary"      ? &canary
                                                       : nullptr;
    if (argument == "--help" || argument == "-h") {
      std::fputs(kHelp, stdout);
      return end_of_output(0);
    }
    if (value != nullptr) {
      if (++i == argc) return usage(argument + " needs a value");
      *value = argv[i];
    } else if (argument.starts_with("-")) {
      return usage("no option " + argument);
    } else if (!uri.empty()) {
      return usage("one device at a time: " + uri + " or " + argument);
    } else {
      uri = argument;
    }
  }
  if (canary == "list") {
    for (const mrpool::audit::CanaryRule& rule : mrpool::audit::canary_rules()) {
      std::printf("%-16s %s\n", std::string(rule.name).c_str(), std::string(rule.meaning).c_str());
    }
    return end_of_output(0);
  }
  if (format != "table" && format != "json" && format != "markdown") {
    return usage("--output-format " + format + ": table, json or markdown");
  }
  if (uri.empty()) return usage("which device? for example uiwarp://");

  absl::StatusOr<mrpool::Address> address = mrpool::Address::parse(uri);
  if (!address.ok()) return fail(address.status());
  if (address->transport == "uiwarp" && address->host.empty()) address->host = "127.0.0.1";
  absl::StatusOr<std::shared_ptr<mrpool::Device>> device = mrpool::Device::open(*address);
  if (!device.ok()) return fail(device.status());
  if (!canary.empty()) {
    device = mrpool::audit::make_canary(*std::move(device), canary);
    if (!device.ok()) return fail(device.status());
  }
  const absl::StatusOr<mrpool::audit::Report> report = mrpool::audit::run(**device, *address);
  if (!report.ok()) return fail(report.status());

  const std::string text = format == "json"       ? to_json(*report)
                           : format == "markdown" ? to_markdown(*report)
                                                  : to_table(*report);
  if (output.empty()) {
    std::fputs(text.c_str(), stdout);
    return end_of_output(report->passed() ? 0 : 1);
  } else if (!(std::ofstream(output) << text).flush()) {
    return fail("cannot write " + output + ": " + std::strerror(errno));
  }
  return report->passed() ? 0 : 1;
}
