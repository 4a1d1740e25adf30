#include "examples/base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/base/log_thread.h"
#include "examples/base/peer_log.h"
#include "examples/base/printable.h"
#include "mrpool/log.h"

namespace mrpool::base {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"error", "warning", "notice", "info", "debug"};
constexpr std::array<std::string_view, 5> kUpper = {"ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"};
constexpr std::array<std::string_view, 4> kFormatNames = {"auto", "text", "json", "journal"};

// Relaxed: an entry that is under way while they change may go by either.
std::atomic<Severity> most{Severity::kNotice};
std::atomic<LogFormat> format_now{LogFormat::kText};
std::atomic<bool> prefixed_now{false};

// $JOURNAL_STREAM has the device and the inode of the journal's stream (systemd.exec(5)); a program
// that this one's starter ran may have inherited it with another stderr.
bool stderr_is_the_journals() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return absl::StrCat(info.st_dev, ":", info.st_ino) == stream;
}

// "2026-11-29T15:30:07.123456Z" (RFC 3339).
std::string time_text(std::chrono::system_clock::time_point now) {
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = std::time_t(micros / 1000000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + n, sizeof text - n, ".%06dZ", int(micros % 1000000));
  return text;
}

std::string as_json(const LogEntry& entry, std::chrono::system_clock::time_point now) {
  const EventFacts& what = facts(entry.event);
  boost::json::object object{
      {"time", time_text(now)}, {"level", name_of(what.severity)}, {"event", what.name}};
  const auto add = [&object](const char* key, std::string_view value) {
    if (!value.empty()) object[key] = printable(value);
  };
  add("peer", entry.peer);
  add("host", entry.host);
  add("target", entry.target);
  if (entry.queue) object["queue"] = *entry.queue;
  add("store", entry.store);
  object["message"] = printable(entry.message);
  return boost::json::serialize(object);
}

// Written regardless of the limits.
void write(const LogEntry& entry) {
  log_line(render(entry, format_now.load(std::memory_order_relaxed),
                  prefixed_now.load(std::memory_order_relaxed), std::chrono::system_clock::now()));
}

void write_left_out(std::string_view message) {
  write({.event = Event::kMessagesLeftOut, .message = message});
}

// For the thread, which has left out lines itself.
std::string left_out_line(uint64_t count) {
  const std::string message = "(" + std::to_string(count) + " lines left out)";
  return render({.event = Event::kMessagesLeftOut, .message = message},
                format_now.load(std::memory_order_relaxed),
                prefixed_now.load(std::memory_order_relaxed), std::chrono::system_clock::now());
}

// The library's own messages. One that is fatal is written before the process ends.
void library_message(void*, mrpool::LogLevel level, std::string_view line) {
  const Event event =
      level == mrpool::LogLevel::kInfo ? Event::kLibraryReport : Event::kLibraryError;
  const std::string message = "mrpool: " + std::string(line);
  const LogEntry entry{.event = event, .message = message};
  if (level != mrpool::LogLevel::kFatal) return write(entry);
  const std::string text = render(entry, log_format(), prefixed_now.load(std::memory_order_relaxed),
                                  std::chrono::system_clock::now());
  std::fprintf(stderr, "%s\n", text.c_str());
}

struct Limiter {
  std::mutex mutex;
  LogLimits limits;
};
// Never destroyed: threads may outlive main().
Limiter& the_limiter() {
  static Limiter& limiter = *new Limiter;
  return limiter;
}

// The machine or the store that an entry is limited with.
std::string about_whom(const LogEntry& entry) {
  if (entry.peer.empty()) return std::string(entry.store);
  const std::string_view host = host_of(entry.peer);
  const auto address = IpAddress::parse(host);
  return address ? address->network() : std::string(host);
}

}  // namespace

std::string_view name_of(Severity severity) { return kNames[size_t(severity)]; }

std::string_view name_of(LogFormat format) { return kFormatNames[size_t(format)]; }

std::optional<Severity> parse_severity(std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(absl::string_view(name.data(), name.size()));
  const auto found = std::ranges::find(kNames, std::string_view(lower));
  if (found == kNames.end()) return std::nullopt;
  return Severity(found - kNames.begin());
}

void set_log_format(LogFormat format) {
  const bool journal = stderr_is_the_journals();
  if (format == LogFormat::kAuto) format = journal ? LogFormat::kJournal : LogFormat::kText;
  format_now.store(format, std::memory_order_relaxed);
  // The journal takes the prefix off, whatever follows.
  const bool prefixed = format == LogFormat::kJournal || (format == LogFormat::kJson && journal);
  prefixed_now.store(prefixed, std::memory_order_relaxed);
  set_left_out_line(format == LogFormat::kText ? nullptr : &left_out_line);
  set_log_sink(format == LogFormat::kText ? nullptr : &library_message);
}

LogFormat log_format() { return format_now.load(std::memory_order_relaxed); }

void set_log_severity(Severity severity) { most.store(severity, std::memory_order_relaxed); }

bool logged(Severity severity) { return severity <= most.load(std::memory_order_relaxed); }

absl::Status log_set_level(std::string_view level) {
  const auto severity = parse_severity(level);
  if (!severity) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", printable(level), "\" is not a log level; use ERROR, WARNING, NOTICE, ",
                     "INFO and DEBUG"));
  }
  set_log_severity(*severity);
  return absl::OkStatus();
}

std::string_view log_get_level() { return kUpper[size_t(most.load(std::memory_order_relaxed))]; }

void log(const LogEntry& entry) {
  if (!logged(facts(entry.event).severity)) return;
  const std::string about = about_whom(entry);
  if (!about.empty()) {
    Limiter& limiter = the_limiter();
    const std::lock_guard lock(limiter.mutex);
    const auto left_out = limiter.limits.take(entry.event, about, !entry.peer.empty(),
                                              std::chrono::steady_clock::now().time_since_epoch());
    if (!left_out) return;
    if (left_out->of_all > 0) {
      write_left_out(absl::StrCat("(", left_out->of_all, " messages about peers left out)"));
    }
    if (left_out->of_kind > 0) {
      write_left_out(absl::StrCat("(", left_out->of_kind, " messages ",
                                  std::string(facts(entry.event).name), " about ", printable(about),
                                  " left out)"));
    }
  }
  write(entry);
}

std::string render(const LogEntry& entry, LogFormat format, bool prefixed,
                   std::chrono::system_clock::time_point now) {
  const std::string text =
      format == LogFormat::kJson ? as_json(entry, now) : printable(entry.message);
  if (!prefixed) return text;
  return absl::StrCat("<", int(facts(entry.event).severity) + 3, ">", text);
}

}  // namespace mrpool::base
