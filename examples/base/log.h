// What a daemon logs on stderr: entries with an event, a severity and fields, as lines of text, as
// JSON, or with the prefixes that the journal of systemd takes for priorities.
//
// Entries about a peer or a store are limited for each kind and each of them, and those about peers
// in all (peer_log.h). Secrets and payload are in no entry.
//
// Thread safety: any thread. An entry is formatted by its caller and written by a thread
// (log_thread.h), so no call waits; none belongs on a data path.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "examples/base/log_events.h"

namespace mrpool::base {

enum class LogFormat : uint8_t {
  kAuto,     // kJournal where stderr is the journal's, else kText
  kText,     // the messages alone
  kJson,     // one object a line
  kJournal,  // "<5>message"
};

// A field that is empty is left out. `message` is the whole line of text formats.
struct LogEntry {
  Event event;
  std::string_view peer{};    // "10.0.0.7:4711"
  std::string_view host{};    // a host's NQN, an initiator's name
  std::string_view target{};  // the subsystem's NQN, the target's name
  std::optional<uint32_t> queue{};
  std::string_view store{};  // "file:/srv/disk.img"
  std::string_view message;
};

// From now on. Installs a sink for the library's own messages where they need a format.
void set_log_format(LogFormat format);
LogFormat log_format();  // never kAuto

// Entries above it are left out. kNotice at the start.
void set_log_severity(Severity most);
// Whether an entry of that severity would go out: to spare its message.
bool logged(Severity severity);

// SPDK's names for the same: "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG". InvalidArgument lists
// them; the case of letters is of no account.
absl::Status log_set_level(std::string_view level);
std::string_view log_get_level();
std::optional<Severity> parse_severity(std::string_view name);
std::string_view name_of(Severity severity);  // "notice"
std::string_view name_of(LogFormat format);   // "json"

// Writes the entry, its texts made printable().
void log(const LogEntry& entry);
// What log() writes, without a newline at the end. `prefixed`: each line has its priority in front.
std::string render(const LogEntry& entry, LogFormat format, bool prefixed,
                   std::chrono::system_clock::time_point now);

}  // namespace mrpool::base
