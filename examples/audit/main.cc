// mrpool-audit DEVICE: does a device's access control hold?
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/str_format.h"
#include "examples/audit/audit.h"
#include "examples/audit/canary.h"
#include "examples/base/command_line.h"
#include "examples/base/exit_status.h"

namespace mrpool::audit {
namespace {

constexpr const char* kProgram = "mrpool-audit";
constexpr const char* kNotes =
    R"(Every access flag and forbidden combination is asked for; then each rule of the contract is tried
with real traffic between two ends on this machine.

Exit status:
  0    every rule holds
  1    the device breaks a rule
  2    the audit itself could not run, or the command line is wrong
)";
constexpr const char* kExamples = R"(  $ mrpool-audit uiwarp://
  $ mrpool-audit --output-format json --output rxe0.json verbs://10.0.0.1
  $ mrpool-audit --canary fast-bound uiwarp://
)";

enum class Format : uint8_t { kTable, kJson, kMarkdown };

struct Arguments {
  std::string device;
  Format format = Format::kTable;
  std::string output;
  std::string canary;
};

void declare(base::CommandLine& program, Arguments& arguments) {
  program.operand("DEVICE", "uiwarp:// or verbs://HOST, the address of an RDMA device", "uiwarp://",
                  arguments.device);
  program.choice<Format>(
      "output-format", "format of the findings", arguments.format,
      {{"table", Format::kTable}, {"json", Format::kJson}, {"markdown", Format::kMarkdown}});
  program.text("output", "FILE", "write to this file instead of standard output", arguments.output);
  program.text("canary", "RULE", "break one rule on purpose, to check that it is detected",
               arguments.canary);
  program.answer("list-canaries", "print the rules that --canary can break", [] {
    std::string list;
    for (const CanaryRule& rule : canary_rules()) {
      absl::StrAppendFormat(&list, "%-16s %s\n", std::string(rule.name), std::string(rule.meaning));
    }
    return list;
  });
  program.notes(kNotes);
  program.examples(kExamples);
}

int fail(const std::string& problem) {
  std::fprintf(stderr, "%s: %s\n", kProgram, problem.c_str());
  return base::kExitUsage;
}
int fail(const absl::Status& status) { return fail(std::string(status.message())); }

std::string text_of(const Report& report, Format format) {
  switch (format) {
    case Format::kTable:
      return to_table(report);
    case Format::kJson:
      return to_json(report);
    case Format::kMarkdown:
      return to_markdown(report);
  }
  return {};
}

int audit_device(const Arguments& arguments) {
  absl::StatusOr<Address> address = Address::parse(arguments.device);
  if (!address.ok()) return fail(address.status());
  if (address->transport == "uiwarp" && address->host.empty()) address->host = "127.0.0.1";
  absl::StatusOr<std::shared_ptr<Device>> device = Device::open(*address);
  if (!device.ok()) return fail(device.status());
  if (!arguments.canary.empty()) {
    device = make_canary(*std::move(device), arguments.canary);
    if (!device.ok()) return fail(device.status());
  }
  const absl::StatusOr<Report> report = audit::run(**device, *address);
  if (!report.ok()) return fail(report.status());

  const std::string text = text_of(*report, arguments.format);
  const int verdict = report->passed() ? base::kExitOk : base::kExitIo;
  if (arguments.output.empty()) {
    std::fputs(text.c_str(), stdout);
    return base::end_of_output(kProgram, verdict);
  }
  if (!(std::ofstream(arguments.output) << text).flush()) {
    return fail("cannot write " + arguments.output + ": " + std::strerror(errno));
  }
  return verdict;
}

}  // namespace
}  // namespace mrpool::audit

int main(int argc, char** argv) {
  namespace audit = mrpool::audit;
  mrpool::base::hold_standard_streams();
  mrpool::base::CommandLine program(
      audit::kProgram,
      "Checks which accesses a device's keys permit, and that they permit nothing else.");
  audit::Arguments arguments;
  audit::declare(program, arguments);
  if (const auto status = program.begin(argc, argv)) return *status;
  return audit::audit_device(arguments);
}
