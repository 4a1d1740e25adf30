// mrpool-run PROGRAM ARGS...: runs a verbs program on uiwarp.
//
// Puts libmrpool-verbs.so before the program's own libibverbs and librdmacm (LD_PRELOAD) and
// becomes the program: its exit status, its signals and its process id are the program's own.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "transport/provider/options.h"

namespace {

namespace fs = std::filesystem;
namespace provider = mrpool::provider;

constexpr int kUsageError = 2;
constexpr int kCannotRun = 126;  // as shells have it
constexpr int kNotFound = 127;

constexpr std::string_view kHelp =
    R"(usage: mrpool-run [OPTIONS] PROGRAM [ARGS...]

Runs a program that uses libibverbs and librdmacm on uiwarp, an RDMA device in userspace over TCP.
The program finds one device, uiwarp0. No RDMA hardware, kernel module or privilege is needed.

options:
  --ordering=as-asked  regions are strictly ordered unless the program asks for
                       IBV_ACCESS_RELAXED_ORDERING (default)
  --ordering=relaxed   every region is relaxed, as on a NIC that is set to force it
  --stats              write what ran to standard error at exit
  --help, --version

examples:
  mrpool-run ibv_devinfo
  mrpool-run ibv_rc_pingpong & mrpool-run ibv_rc_pingpong localhost
  mrpool-run ib_write_bw -R & mrpool-run --stats ib_write_bw -R 127.0.0.1

The exit status is the program's; 126 or 127 when it cannot be started, 2 for wrong usage.
)";

void print(FILE* file, std::string_view text) { std::fwrite(text.data(), 1, text.size(), file); }

int fail(int status, const std::string& text) {
  print(stderr, "mrpool-run: " + text + "\n");
  return status;
}

std::optional<fs::path> find_library() {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* folder : {"../lib", "../" MRPOOL_LIBDIR "/mrpool"}) {
    const fs::path path = (bin / folder / "libmrpool-verbs.so").lexically_normal();
    if (fs::exists(path, error)) return path;
  }
  return std::nullopt;
}

struct Options {
  std::string_view ordering = provider::kAsAsked;
  bool stats = false;
};

// 0 with `first` at the program, or an exit status after a message.
int parse(int argc, char** argv, Options& options, int& first) {
  for (first = 1; first < argc && argv[first][0] == '-'; ++first) {
    const std::string_view option = argv[first];
    constexpr std::string_view kOrdering = "--ordering=";
    if (option == "--") {
      ++first;
      break;
    }
    if (option == "--stats") {
      options.stats = true;
    } else if (option.starts_with(kOrdering)) {
      options.ordering = option.substr(kOrdering.size());
      if (options.ordering != provider::kRelaxed && options.ordering != provider::kAsAsked) {
        return fail(kUsageError, std::string(option) + ": expected as-asked or relaxed");
      }
    } else {
      return fail(kUsageError, "unknown option " + std::string(option) + "; see mrpool-run --help");
    }
  }
  if (first == argc) return fail(kUsageError, "no program given; see mrpool-run --help");
  return 0;
}

int run(char** program, const Options& options) {
  const std::optional<fs::path> library = find_library();
  if (!library.has_value()) {
    return fail(kCannotRun, "libmrpool-verbs.so is neither in ../lib nor in ../" MRPOOL_LIBDIR
                            "/mrpool beside this program's folder");
  }
  std::string preload = library->string();
  // The dynamic linker divides the list at both.
  if (preload.find_first_of(" :") != std::string::npos) {
    return fail(kCannotRun, preload + ": a path with a space or a colon cannot be preloaded");
  }
  if (const char* others = std::getenv("LD_PRELOAD"); others != nullptr && *others != '\0') {
    preload = preload + ":" + others;
  }
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  ::setenv(provider::kOrderingVariable, std::string(options.ordering).c_str(), 1);
  ::setenv(provider::kStatsVariable, options.stats ? "1" : "0", 1);
  ::execvp(program[0], program);
  const int error = errno;
  return fail(error == ENOENT ? kNotFound : kCannotRun,
              std::string(program[0]) + ": " + std::strerror(error));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view only = argc > 1 ? argv[1] : "";
  if (only == "--help" || only == "-h") {
    print(stdout, kHelp);
    return 0;
  }
  if (only == "--version") {
    print(stdout, "mrpool-run " MRPOOL_VERSION "\n");
    return 0;
  }
  Options options;
  int first = 0;
  if (const int status = parse(argc, argv, options, first); status != 0) return status;
  return run(argv + first, options);
}
