// Log pages of a controller, [base] 5.14. kLogPages lists them all; Get Log Page, the list of
// supported log pages and LPA use it. To add one, add a producer and its line.
#include <algorithm>
#include <cstring>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/io_command.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::le;
using nvme::Status;

struct Controller::LogPage {
  uint8_t id;
  bool storage;    // for I/O controllers
  bool discovery;  // for discovery controllers
  uint8_t lpa;     // its bit in LPA, or 0
  // Fills the whole page, or returns an error status.
  Status (Controller::*make)(const AdminRequest& request, std::vector<std::byte>& page);
  uint32_t event;  // reading it without "retain" enables this event again
};

const Controller::LogPage Controller::kLogPages[] = {
    {NVME_LOG_LID_SUPPORTED_LOG_PAGES, true, true, 0, &Controller::supported_log_pages, 0},
    {NVME_LOG_LID_ERROR, true, false, 0, &Controller::error_log, 0},
    {NVME_LOG_LID_SMART, true, false, 0, &Controller::smart_log, 0},
    {NVME_LOG_LID_FW_SLOT, true, false, 0, &Controller::firmware_log, 0},
    {NVME_LOG_LID_CHANGED_NS, true, false, 0, &Controller::changed_log, kEventNamespace},
    {NVME_LOG_LID_CMD_EFFECTS, true, false, 1 << 1, &Controller::effects_log, 0},
    {NVME_LOG_LID_ANA, true, false, 0, &Controller::access_log, kEventAccess},
    {NVME_LOG_LID_RESERVATION, true, false, 0, &Controller::reservation_log, kEventReservation},
    {NVME_LOG_LID_DISCOVER, false, true, 0, &Controller::discovery_log, kEventDiscovery},
};

const Controller::LogPage* Controller::find_log_page(uint32_t id) const {
  const auto* found = std::ranges::find_if(kLogPages, [&](const LogPage& page) {
    if (page.id == NVME_LOG_LID_ANA && !subsystem_->ana_reporting) return false;
    return page.id == id && (identity_.discovery ? page.discovery : page.storage);
  });
  return found == std::end(kLogPages) ? nullptr : found;
}

uint8_t Controller::log_page_attributes() {
  // Not bit 5, which requires more than the list of log pages.
  uint8_t bits = 0;
  for (const LogPage& page : kLogPages) bits |= page.lpa;
  return bits;
}

AdminReply Controller::get_log_page(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  const LogRange range = log_range(sqe);
  if (range.length > kMaxTransfer || range.offset % 4 != 0) return refuse(Status::kInvalidField);
  if (range.length != request.data_length) return refuse(Status::kSglDataLength);
  const LogPage* log = find_log_page(sqe.cdw10 & 0xff);
  if (log == nullptr) return refuse(Status::kInvalidLogPage);
  std::vector<std::byte> page;
  if (const Status status = (this->*log->make)(request, page); !ok(status)) return refuse(status);
  if (range.offset > page.size()) return refuse(Status::kInvalidField);
  // The host reads the log now: clears the list of changes, and without "retain" enables the event
  // again.
  if (log->id == NVME_LOG_LID_CHANGED_NS) {
    changed_.clear();
    changed_overflow_ = false;
  }
  const bool retain = (sqe.cdw10 & 1u << 15) != 0;
  if (log->id == NVME_LOG_LID_RESERVATION && !retain) reservation_notices_.take();
  if (!retain) events_masked_ &= ~log->event;
  page.erase(page.begin(), page.begin() + ptrdiff_t(range.offset));
  page.resize(range.length);  // zeroes beyond the end of a log
  return with_data(std::move(page));
}

Status Controller::supported_log_pages(const AdminRequest&, std::vector<std::byte>& page) {
  nvme_supported_log_pages pages{};
  for (const LogPage& log : kLogPages) {
    if (find_log_page(log.id) != nullptr) pages.lid_support[log.id] = le(uint32_t{1});
  }
  page = to_bytes(pages);
  return Status::kSuccess;
}

Status Controller::error_log(const AdminRequest&, std::vector<std::byte>& page) {
  std::vector<nvme_error_log_page> newest_first;
  for (uint64_t i = 0; i < error_log_.size(); ++i) {
    newest_first.push_back(error_log_[(errors_ - 1 - i) % kErrorLogEntries]);
  }
  newest_first.resize(kErrorLogEntries);
  const auto bytes = std::as_bytes(std::span(newest_first));
  page.assign(bytes.begin(), bytes.end());
  return Status::kSuccess;
}

Status Controller::smart_log(const AdminRequest& request, std::vector<std::byte>& page) {
  // One log for the whole subsystem, [base] 5.14.1.2.
  if (request.sqe.nsid != 0 && request.sqe.nsid != nvme::kBroadcastNsid) {
    return Status::kInvalidField;
  }
  const Nanoseconds now = request.now;
  const Totals totals = subsystem_->totals();
  // Data units are thousands of 512 bytes, rounded up.
  const auto units = [](uint64_t bytes) { return (bytes + 511'999) / 512'000; };
  nvme_smart_log log{};
  log.avail_spare = 100;
  log.spare_thresh = 10;
  const uint16_t kelvin = le(uint16_t{273 + 40});  // a constant, because no sensor exists
  std::memcpy(log.temperature, &kelvin, sizeof kelvin);
  put128(log.data_units_read, units(totals.bytes_read));
  put128(log.data_units_written, units(totals.bytes_written));
  put128(log.host_reads, totals.reads);
  put128(log.host_writes, totals.writes);
  const auto ns = std::chrono::nanoseconds(totals.busy_ns);
  put128(log.ctrl_busy_time,
         uint64_t(std::chrono::duration_cast<std::chrono::minutes>(ns).count()));
  put128(log.power_cycles, 1);
  put128(
      log.power_on_hours,
      uint64_t(std::chrono::duration_cast<std::chrono::hours>(now - subsystem_->power_on).count()));
  put128(log.media_errors, totals.media_errors);
  put128(log.num_err_log_entries, errors_);
  page = to_bytes(log);
  return Status::kSuccess;
}

Status Controller::firmware_log(const AdminRequest&, std::vector<std::byte>& page) {
  nvme_firmware_slot slots{};
  slots.afi = 1;
  nvme::set_blank_padded(slots.frs[0], "1");
  page = to_bytes(slots);
  return Status::kSuccess;
}

Status Controller::changed_log(const AdminRequest&, std::vector<std::byte>& page) {
  nvme_ns_list list{};
  if (changed_overflow_) {
    list.ns[0] = le(nvme::kBroadcastNsid);
  } else {
    std::sort(changed_.begin(), changed_.end());
    std::transform(changed_.begin(), changed_.end(), list.ns,
                   [](uint32_t nsid) { return le(nsid); });
  }
  page = to_bytes(list);
  return Status::kSuccess;
}

// Commands Supported and Effects.
Status Controller::effects_log(const AdminRequest&, std::vector<std::byte>& page) {
  constexpr uint32_t kSupported = 1;
  constexpr uint32_t kChangesContent = 1u << 1;
  nvme_cmd_effects_log effects{};
  for (const auto& [opcode, more] : admin_effects()) {
    effects.acs[size_t(opcode)] = le(kSupported | more);
  }
  const bool marks = namespaces()->offers_marks();
  for (const IoCommand& command : io_commands()) {
    if (command.opcode == nvme::IoOpcode::kWriteUncorrectable && !marks) continue;
    effects.iocs[size_t(command.opcode)] =
        le(kSupported | (command.changes_content ? kChangesContent : 0));
  }
  effects.acs[nvme::kFabricsOpcode] = le(kSupported);
  effects.iocs[nvme::kFabricsOpcode] = le(kSupported);
  page = to_bytes(effects);
  return Status::kSuccess;
}

Status Controller::discovery_log(const AdminRequest& request, std::vector<std::byte>& page) {
  page = request.discovery;
  return Status::kSuccess;
}

LogRange log_range(const nvme::Sqe& sqe) {
  const uint64_t dwords =
      (uint64_t(uint32_t(sqe.cdw11) & 0xffff) << 16 | uint32_t(sqe.cdw10) >> 16) + 1;
  return {uint64_t(uint32_t(sqe.cdw13)) << 32 | uint32_t(sqe.cdw12), dwords * 4};
}

}  // namespace mrpool::nvmf_target
