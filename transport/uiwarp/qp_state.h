// What the send side and the receive side of one Qp share: who they are, what was agreed with the
// peer, the READs that both work on, and the first error.
//
// Thread safety: the reactor of the Qp.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "mrpool/device.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/placement.h"
#include "transport/uiwarp/qp_counters.h"
#include "transport/uiwarp/reads.h"
#include "transport/uiwarp/terminate.h"

namespace mrpool::uiwarp {

struct QpState {
  QpState(Qp& qp_in, KeyTable& keys_in, const KeyUser& user_in, const DeviceCaps& caps_in,
          std::unique_ptr<WithheldData> withheld, const Pd* pd_in = nullptr)
      : qp(qp_in),
        keys(keys_in),
        user(user_in),
        pd(pd_in),
        caps(caps_in),
        placement(std::move(withheld)) {}

  Qp& qp;
  KeyTable& keys;
  KeyUser user;
  const Pd* const pd;  // of the Qp
  const DeviceCaps& caps;
  Placement placement;

  MpaAgreement agreement;
  bool started = false;
  // Sending is allowed. The responder's opens with the initiator's first FPDU (RFC 5044 §7.1.2).
  bool gate_open = false;
  // This side has asked for the end. READs of the peer that come now are not answered, and SENDs
  // that find no receive are dropped: neither is a violation, the peer does not know yet.
  bool closing = false;

  OwnReads own_reads;
  PeerReads peer_reads;
  QpCounters counters;

  // The first error stays; nothing is received or sent after it.
  std::optional<Terminate> violation;       // for the peer
  std::optional<Terminate> peer_terminate;  // by the peer
  bool local_fault = false;                 // the violation is of a request posted here
  bool failed() const { return violation.has_value() || peer_terminate.has_value(); }
  void fail(const Terminate& terminate) {
    if (!failed()) violation = terminate;
  }
};

}  // namespace mrpool::uiwarp
