// Checker: from the environment to the end of the process.
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "transport/checker/checker.h"
#include "transport/checker/options.h"

namespace mrpool::checker {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<Suppressions> read_suppressions(const std::string& path) {
  if (path.empty()) return Suppressions{};
  std::ifstream file(path);
  if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto parsed = Suppressions::parse(text);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", parsed.status().message()));
}

// exit() called again goes on with the handlers that are left and ends with the new status.
void at_exit(int status, void*) {
  const int wanted = Checker::get()->finish(status);
  if (wanted != status) std::exit(wanted);
}

// Of libmrpool-watch.so, which mrpool-run preloads.
watch::Watch* find_watch() {
  auto* const get =
      reinterpret_cast<watch::Watch* (*)()>(::dlsym(RTLD_DEFAULT, "mrpool_memory_watch"));
  return get == nullptr ? nullptr : get();
}

}  // namespace

Checker* Checker::instance_ = nullptr;

absl::Status Checker::start() {
  uint64_t seed = 0;
  if (instance_ != nullptr || !absl::SimpleAtoi(variable(kSeedVariable), &seed)) {
    return absl::OkStatus();
  }
  ReportOptions options{.file = variable(kReportVariable), .suppressions = {}};
  if (!absl::SimpleAtoi(variable(kExitVariable), &options.exit_status)) options.exit_status = 66;
  auto suppressions = read_suppressions(variable(kSuppressionsVariable));
  if (!suppressions.ok()) return suppressions.status();
  options.suppressions = *std::move(suppressions);
  instance_ = new Checker(seed, std::move(options));
  instance_->watch_ = find_watch();
  if (instance_->watch_ != nullptr) {
    instance_->watch_->start([](const watch::Loss& loss) { get()->memory_lost(loss); });
  }
  ::on_exit(&at_exit, nullptr);
  // In the order in which they are taken.
  ::pthread_atfork(
      [] {
        get()->mutex_.lock();
        get()->report_.before_fork();
      },
      [] {
        get()->report_.after_fork();
        get()->mutex_.unlock();
      },
      [] {
        get()->report_.after_fork();
        get()->mutex_.unlock();
        get()->forget();
      });
  return absl::OkStatus();
}

void Checker::forget() {
  const std::lock_guard lock(mutex_);
  forked_ = true;
  objects_.clear();
  regions_.clear();
  work_ = {};
  cqs_.clear();
}

int Checker::finish(int status) {
  {
    const std::lock_guard lock(mutex_);
    // A child that made no object has nothing to report.
    if (forked_ && objects_.empty()) return status;
    finished_ = true;
    // A program that gives up leaves its objects to the kernel on purpose.
    if (status == 0) {
      for (const auto& [cq, use] : cqs_) report_never_polled(cq);
      regions_.for_each([this](const Region& region) { report_unused_rights(region); });
      report_leaks();
    }
  }
  return report_.finish(status);
}

}  // namespace mrpool::checker
