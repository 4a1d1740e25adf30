// The notices of reservations for a controller's host: the Reservation Notification log, one page
// for each notice, and their masks.
//
// Thread safety: none. Ownership: a value. Clauses: [base] 5.14.1.16 log page 80h, 5.27.1.26
// feature 82h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>

#include "examples/protocol/nvme/wire.h"
#include "examples/reservation/registry.h"

namespace mrpool::nvmf_target {

class ReservationNotices {
 public:
  // Pages that wait to be read. Further ones are lost, which the numbers show.
  static constexpr size_t kMost = 64;
  // The bits that a mask may have.
  static constexpr uint32_t kMaskBits =
      NVME_FEAT_RESV_NOTIFY_REGPRE | NVME_FEAT_RESV_NOTIFY_RESREL | NVME_FEAT_RESV_NOTIFY_RESPRE;

  // False: the host has masked it.
  bool add(uint32_t nsid, reservation::Event event) {
    const auto type = uint8_t(uint8_t(event) + NVME_RESV_NOTIFY_RNLPT_REGISTRATION_PREEMPTED);
    if ((mask(nsid) & 1u << type) != 0) return false;
    if (++count_ == 0) count_ = 1;  // 0 is the number of an empty page
    if (pages_.size() == kMost) return true;
    nvme_resv_notification_log page{};
    page.lpc = nvme::le(count_);
    page.rnlpt = type;
    page.nsid = nvme::le(nsid);
    pages_.push_back(page);
    return true;
  }

  // The oldest page; an empty one where there is none.
  nvme_resv_notification_log front() const {
    if (pages_.empty()) return {};
    nvme_resv_notification_log page = pages_.front();
    page.nalp = uint8_t(pages_.size() - 1);
    return page;
  }
  void take() {
    if (!pages_.empty()) pages_.pop_front();
  }

  uint32_t mask(uint32_t nsid) const {
    const auto at = masks_.find(nsid);
    return at == masks_.end() ? 0 : at->second;
  }
  void set_mask(uint32_t nsid, uint32_t mask) { masks_[nsid] = mask; }

 private:
  uint64_t count_ = 0;
  std::deque<nvme_resv_notification_log> pages_;
  std::map<uint32_t, uint32_t> masks_;
};
static_assert(sizeof(nvme_resv_notification_log) == 64);

}  // namespace mrpool::nvmf_target
