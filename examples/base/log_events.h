// The events that a daemon logs: each with its name in structured logs and its severity. One table,
// which docs/operate/service.md repeats.
//
// Thread safety: constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace mrpool::base {

// The numbers are their order; syslog's priorities are theirs plus 3.
enum class Severity : uint8_t { kError, kWarning, kNotice, kInfo, kDebug };

enum class Event : uint8_t {
  kStartFailed,
  kReloadRefused,
  kStopOverdue,
  kStoreError,
  kStoreHung,
  kStoreUnavailable,
  kWatchdogMissed,
  kLibraryError,
  kStoreSlow,
  kStoreChanged,
  kStoreFallback,
  kGatewayLost,
  kReadsCopied,
  kProcessLimit,
  kMemoryShort,
  kSecretExposed,
  kStatusExposed,
  kChangesLost,
  kImportNote,
  kConnectionRefused,
  kConnectionsExhausted,
  kAcceptFailed,
  kLoginRefused,
  kChangeRefused,
  kClientDropped,
  kHostDropped,
  kProtocolError,
  kMessagesLeftOut,
  kHostConnected,
  kHostDisconnected,
  kStoreRecovered,
  kStoreCreated,
  kGatewayOwner,
  kChanged,
  kPrivilegesDropped,
  kStarted,
  kReloaded,
  kStopping,
  kQueueConnected,
  kQueueDisconnected,
  kStagingExhausted,
  kMrsExhausted,
  kLibraryReport,
};

struct EventFacts {
  std::string_view name;
  Severity severity;
};

// In the order of Event.
inline constexpr EventFacts kEvents[] = {
    {"start_failed", Severity::kError},
    {"reload_refused", Severity::kError},
    {"stop_overdue", Severity::kError},
    {"store_error", Severity::kError},
    {"store_hung", Severity::kError},
    {"store_unavailable", Severity::kError},
    {"watchdog_missed", Severity::kError},
    {"library_error", Severity::kError},
    {"store_slow", Severity::kWarning},
    {"store_changed", Severity::kWarning},
    {"store_fallback", Severity::kWarning},
    {"gateway_lost", Severity::kWarning},
    {"reads_copied", Severity::kWarning},
    {"process_limit", Severity::kWarning},
    {"memory_short", Severity::kWarning},
    {"secret_exposed", Severity::kWarning},
    {"status_exposed", Severity::kWarning},
    {"changes_lost", Severity::kWarning},
    {"import_note", Severity::kWarning},
    {"connection_refused", Severity::kWarning},
    {"connections_exhausted", Severity::kWarning},
    {"accept_failed", Severity::kWarning},
    {"login_refused", Severity::kWarning},
    {"change_refused", Severity::kWarning},
    {"client_dropped", Severity::kWarning},
    {"host_dropped", Severity::kWarning},
    {"protocol_error", Severity::kWarning},
    {"messages_left_out", Severity::kWarning},
    {"host_connected", Severity::kNotice},
    {"host_disconnected", Severity::kNotice},
    {"store_recovered", Severity::kNotice},
    {"store_created", Severity::kNotice},
    {"gateway_owner", Severity::kNotice},
    {"changed", Severity::kNotice},
    {"privileges_dropped", Severity::kNotice},
    {"started", Severity::kNotice},
    {"reloaded", Severity::kNotice},
    {"stopping", Severity::kNotice},
    {"queue_connected", Severity::kInfo},
    {"queue_disconnected", Severity::kInfo},
    {"staging_exhausted", Severity::kInfo},
    {"mrs_exhausted", Severity::kInfo},
    {"library_report", Severity::kInfo},
};
static_assert(std::size(kEvents) == size_t(Event::kLibraryReport) + 1);

constexpr const EventFacts& facts(Event event) { return kEvents[size_t(event)]; }

}  // namespace mrpool::base
