// mrpool-run PROGRAM ARGUMENTS...: runs a verbs program on uiwarp.
//
// Puts libmrpool-verbs.so before the program's own libibverbs and librdmacm (LD_PRELOAD), also
// before those that it opens by dlopen() (LD_LIBRARY_PATH). Then it becomes the program: its exit
// status, its signals and its process id are the program's own. Under Valgrind the program is its
// child (under_valgrind.h).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "examples/base/command_line.h"
#include "examples/base/exit_status.h"
#include "examples/base/units.h"
#include "examples/run/under_valgrind.h"
#include "transport/checker/options.h"
#include "transport/checker/suppressions.h"
#include "transport/provider/options.h"
#include "transport/provider/pcap_format.h"

namespace {

namespace base = mrpool::base;
namespace fs = std::filesystem;
namespace checker = mrpool::checker;
namespace provider = mrpool::provider;

constexpr const char* kProgram = "mrpool-run";
constexpr int kCannotRun = 126;  // as shells have it
constexpr int kNotFound = 127;

constexpr const char* kNotes =
    R"(The program finds one device, uiwarp0. No RDMA hardware, kernel module or privilege is needed.

Exit status:
  that of the program; with --check 66 when it ended with 0 but broke a rule; 126 or 127 when it
  cannot be started, 2 when the command line is wrong
)";
constexpr const char* kExamples =
    R"(  $ mrpool-run ibv_devinfo
  $ mrpool-run ibv_rc_pingpong & mrpool-run ibv_rc_pingpong localhost
  $ mrpool-run ib_write_bw -R & mrpool-run --stats ib_write_bw -R 127.0.0.1
  $ mrpool-run --pcap server.pcap ib_send_bw & mrpool-run ib_send_bw 127.0.0.1
  $ mrpool-run --check --report findings.json ./server
)";

struct Options {
  std::string ordering{provider::kAsAsked};
  std::string completions{provider::kSent};
  std::string identity{provider::kRoce};
  std::string crc{provider::kOn};
  bool device_file = false;
  bool stats = false;
  std::string pcap;
  std::string check;  // the seed; empty: off
  std::string report;
  uint64_t check_exit = checker::kExitStatus;
  std::string suppressions;
  std::string guard;  // empty: the first that works
  std::vector<std::string> program;
};

int fail(int status, const std::string& text) {
  static_cast<void>(base::fail(kProgram, absl::UnknownError(text)));
  return status;
}

// An object, or a folder of them, that belongs to this program.
absl::StatusOr<std::string> find_object(const std::string& name) {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* folder : {"../lib", "../" MRPOOL_LIBDIR "/mrpool"}) {
    std::string path = (bin / folder / name).lexically_normal().string();
    if (!fs::exists(path, error)) continue;
    // The dynamic linker divides the list at both.
    if (path.find_first_of(" :") == std::string::npos) return path;
    return absl::InvalidArgumentError(path +
                                      ": a path with a space or a colon cannot be preloaded");
  }
  return absl::NotFoundError(name + " is neither in ../lib nor in ../" MRPOOL_LIBDIR
                                    "/mrpool next to this program's folder");
}

void set_checker(const Options& options) {
  // The program may change its folder.
  const auto whole = [](const std::string& path) {
    return path.empty() ? path : fs::absolute(path).string();
  };
  ::setenv(checker::kSeedVariable, options.check.c_str(), 1);
  ::setenv(checker::kReportVariable, whole(options.report).c_str(), 1);
  ::setenv(checker::kExitVariable, absl::StrCat(options.check_exit).c_str(), 1);
  ::setenv(checker::kGuardVariable, options.guard.c_str(), 1);
  ::setenv(checker::kSuppressionsVariable, whole(options.suppressions).c_str(), 1);
}

// The program's file, as execvp() looks for it; the name itself where there is none.
std::string file_of(const std::string& program) {
  const char* const folders = std::getenv("PATH");
  if (folders == nullptr || program.find('/') != std::string::npos) return program;
  for (const absl::string_view folder : absl::StrSplit(folders, ':')) {
    std::string path = absl::StrCat(folder.empty() ? "." : folder, "/", program);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return program;
}

// Whether the program was built with AddressSanitizer, whose runtime wants to be the first object.
bool has_asan(const std::string& program) {
  std::ifstream file(file_of(program), std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  return content.find("__asan_init") != std::string::npos;
}

void set_asan_options() {
  const char* others = std::getenv("ASAN_OPTIONS");
  const std::string options =
      absl::StrCat("verify_asan_link_order=0:halt_on_error=0:", others == nullptr ? "" : others);
  ::setenv("ASAN_OPTIONS", options.c_str(), 1);
}

// Lets a list of the dynamic linker start with these objects, in their order.
absl::Status put_first(const char* variable, const std::vector<std::string>& names) {
  std::vector<std::string> paths;
  for (const std::string& name : names) {
    absl::StatusOr<std::string> path = find_object(name);
    if (!path.ok()) return path.status();
    paths.push_back(*std::move(path));
  }
  if (const char* others = std::getenv(variable); others != nullptr && *others != '\0') {
    paths.emplace_back(others);
  }
  ::setenv(variable, absl::StrJoin(paths, ":").c_str(), 1);
  return absl::OkStatus();
}

absl::Status set_objects(const Options& options) {
  std::vector<std::string> preloaded{"libmrpool-verbs.so"};
  // Functions of these stand before the C library's, which they call in turn.
  if (options.device_file) preloaded.insert(preloaded.begin(), "libmrpool-device-file.so");
  if (!options.check.empty()) preloaded.insert(preloaded.begin(), "libmrpool-watch.so");
  if (!options.check.empty() && (options.guard.empty() || options.guard == checker::kPageGuard)) {
    preloaded.insert(preloaded.begin(), "libmrpool-guard.so");
  }
  if (absl::Status status = put_first("LD_PRELOAD", preloaded); !status.ok()) return status;
  return put_first("LD_LIBRARY_PATH", {"drop-in"});
}

// Reads the suppressions here, too. What can be read only once is copied for the program.
absl::StatusOr<checker::Suppressions> take_suppressions(Options& options) {
  if (options.suppressions.empty()) return checker::Suppressions{};
  std::ifstream file(options.suppressions);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  absl::StatusOr<checker::Suppressions> parsed = checker::Suppressions::parse(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", options.suppressions, "': ", parsed.status().message()));
  }
  std::error_code error;
  if (fs::is_regular_file(options.suppressions, error)) return parsed;
  const int copy = ::memfd_create("suppressions", MFD_CLOEXEC);
  if (::write(copy, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a copy of '", options.suppressions, "': ", std::strerror(errno)));
  }
  options.suppressions = absl::StrCat("/proc/", ::getpid(), "/fd/", copy);
  return parsed;
}

// The program becomes a process of its own: its capture is named after that.
void set_first_process(const Options& options, pid_t before) {
  ::setenv(provider::kPcapFirstVariable, absl::StrCat(::getpid()).c_str(), 1);
  if (options.pcap.empty()) return;
  std::error_code error;
  fs::rename(provider::capture_path(options.pcap, before, before),
             provider::capture_path(options.pcap, ::getpid(), ::getpid()), error);
}

int run_under_valgrind(Options& options) {
  absl::StatusOr<checker::Suppressions> suppressions = take_suppressions(options);
  if (!suppressions.ok()) return fail(kCannotRun, std::string(suppressions.status().message()));
  set_checker(options);
  const absl::Status status = mrpool::run::run_under_valgrind(
      {.program = options.program,
       .report = options.report.empty() ? "" : fs::absolute(options.report).string(),
       .exit_status = static_cast<int>(options.check_exit),
       .suppressions = *std::move(suppressions),
       .prepare = [&options, before = ::getpid()] { set_first_process(options, before); }});
  return fail(absl::IsNotFound(status) ? kNotFound : kCannotRun, std::string(status.message()));
}

int run(Options& options) {
  const absl::Status objects = set_objects(options);
  if (!objects.ok()) return fail(kCannotRun, std::string(objects.message()));
  ::setenv(provider::kOrderingVariable, options.ordering.c_str(), 1);
  ::setenv(provider::kCompletionsVariable, options.completions.c_str(), 1);
  ::setenv(provider::kIdentityVariable, options.identity.c_str(), 1);
  ::setenv(provider::kCrcVariable, options.crc.c_str(), 1);
  ::setenv(provider::kStatsVariable, options.stats ? "1" : "0", 1);
  ::setenv(provider::kPcapVariable, options.pcap.c_str(), 1);
  ::setenv(provider::kPcapFirstVariable, absl::StrCat(::getpid()).c_str(), 1);
  set_checker(options);
  if (!options.check.empty() && options.guard == checker::kValgrindGuard) {
    return run_under_valgrind(options);
  }
  if (!options.check.empty() && options.guard == checker::kAsanGuard) set_asan_options();
  std::vector<char*> words;
  for (const std::string& word : options.program) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  const int error = errno;
  return fail(error == ENOENT ? kNotFound : kCannotRun,
              absl::StrCat(words[0], ": ", std::strerror(error)));
}

// Sets `to` to a file that can be opened like that.
base::CommandLine::Setter file_for(int flags, std::string& to) {
  return [flags, &to](std::string_view path) {
    to = path;
    const int fd = ::open(to.c_str(), flags | O_CLOEXEC, 0666);
    if (fd < 0) {
      return absl::InvalidArgumentError(absl::StrCat("'", to, "': ", std::strerror(errno)));
    }
    struct stat status {};
    const bool folder = ::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    ::close(fd);
    if (folder) return absl::InvalidArgumentError(absl::StrCat("'", to, "' is a folder"));
    return absl::OkStatus();
  };
}

// Makes the capture of the process that this one becomes, without a packet.
absl::Status make_capture(std::string_view name, std::string& to) {
  to = fs::absolute(name).string();  // the program may change its folder
  const std::string path = provider::capture_path(to, ::getpid(), ::getpid());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const provider::PcapHeader header;
  file.write(reinterpret_cast<const char*>(&header), sizeof header).flush();
  if (file) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", std::strerror(errno),
                                                 "; name a file in a folder that you may write"));
}

// The program would find its fault only when it opens the device.
absl::Status check_suppressions(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return absl::OkStatus();  // a pipe can be read once
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const absl::Status status = checker::Suppressions::parse(text).status();
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", status.message()));
}

void declare_checker(base::CommandLine& program, Options& options) {
  program.section("Checker (docs/operate/checker.md)");
  program.option(
      "check", "SEED",
      "report what breaks the rules of verbs, with stacks, on standard error; SEED makes "
      "a run's random decisions (without it: 1)",
      [&options](std::string_view text) {
        const auto seed = base::parse_count(text, {});
        if (seed.ok()) options.check = text;
        return seed.status();
      });
  program.implies(checker::kDefaultSeed);
  program.option("report", "FILE", "with --check: append each finding as a line of JSON to FILE",
                 file_for(O_WRONLY | O_CREAT | O_APPEND, options.report));
  program.count("check-exit",
                "with --check: the exit status of a program that ended with 0 although there were "
                "errors (hints do not count)",
                options.check_exit, {.least = 0, .most = 255});
  program.option(
      "suppressions", "FILE",
      "with --check: suppress findings that match a line KIND:PATTERN of FILE; the pattern, in "
      "which * matches any text, is searched in functions, files and objects of the stacks",
      [&options, open = file_for(O_RDONLY, options.suppressions)](std::string_view path) {
        const absl::Status status = open(path);
        return status.ok() ? check_suppressions(options.suppressions) : status;
      });
}

void declare_guard(base::CommandLine& program, Options& options) {
  const std::string first;
  const std::string none(checker::kNoGuard);
  const std::string pages(checker::kPageGuard);
  const std::string valgrind(checker::kValgrindGuard);
  const std::string asan(checker::kAsanGuard);
  program.choice(
      "guard",
      "with --check: how memory is watched that was received but is ordered by no "
      "completion yet: by protected pages, by AddressSanitizer in a program built with "
      "it, by Valgrind's memcheck (which is started), not at all, or (auto) as works here",
      options.guard,
      {{"auto", first}, {pages, pages}, {asan, asan}, {valgrind, valgrind}, {none, none}});
}

// The option of the checker that was given without --check, if any.
const char* without_check(const Options& options) {
  if (!options.check.empty()) return nullptr;
  if (!options.report.empty()) return "--report";
  if (!options.suppressions.empty()) return "--suppressions";
  if (!options.guard.empty()) return "--guard";
  return options.check_exit != checker::kExitStatus ? "--check-exit" : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  base::CommandLine program(kProgram,
                            "Runs a program that uses libibverbs and librdmacm on uiwarp, an RDMA "
                            "device in userspace over TCP.");
  const std::string as_asked(provider::kAsAsked);
  const std::string relaxed(provider::kRelaxed);
  program.choice("ordering",
                 "as-asked: regions are strictly ordered unless the program asks for "
                 "IBV_ACCESS_RELAXED_ORDERING; relaxed: every region is relaxed, as on a NIC that "
                 "is set to force it",
                 options.ordering, {{as_asked, as_asked}, {relaxed, relaxed}});
  const std::string roce(provider::kRoce);
  const std::string iwarp(provider::kIwarp);
  program.choice(
      "identity",
      "what the device is to the program. roce: like a RoCE NIC, its peers are programs "
      "under mrpool-run; iwarp: an iWARP NIC, for peers that are siw, hardware or uiwarp",
      options.identity, {{roce, roce}, {iwarp, iwarp}});
  const std::string sent(provider::kSent);
  const std::string acknowledged(provider::kAcknowledged);
  program.choice(
      "completions",
      "what a completed SEND or WRITE means. sent: its bytes are on their way; acknowledged: "
      "they are in the peer's memory, as on InfiniBand, which costs another round trip",
      options.completions, {{sent, sent}, {acknowledged, acknowledged}});
  const std::string on(provider::kOn);
  const std::string off(provider::kOff);
  program.choice(
      "crc",
      "whether connections carry a CRC for each FPDU (RFC 5044). off: they do not unless "
      "the peer asks for it, which is faster; TCP's checksum remains",
      options.crc, {{on, on}, {off, off}});
  program.flag("device-file",
               "make the device's file in /dev/infiniband appear to exist, for programs that check "
               "it, such as UCX (docs/operate/verbs_programs.md)",
               options.device_file);
  program.flag("stats", "print statistics to standard error at exit", options.stats);
  program.option(
      "pcap", "FILE",
      "write the traffic of connections to FILE, for Wireshark and tshark; %p in its name is "
      "the process id, without it children write to FILE.ID",
      [&options](std::string_view name) { return make_capture(name, options.pcap); });
  declare_checker(program, options);
  declare_guard(program, options);
  program.program_operand("mrpool-run ibv_devinfo", options.program);
  program.notes(kNotes);
  program.examples(kExamples);
  if (const std::optional<int> status = program.begin(argc, argv)) return *status;
  if (const char* const option = without_check(options); option != nullptr) {
    return fail(base::kExitUsage, absl::StrCat(option, " needs --check (see --help)"));
  }
  if (!options.check.empty() && options.guard.empty() && has_asan(options.program[0])) {
    options.guard = checker::kAsanGuard;
  }
  return run(options);
}
