#include "transport/uiwarp/qp_core.h"

namespace mrpool::uiwarp {

void QpCore::start(const MpaAgreement& agreement, bool initiator) {
  state_.agreement = agreement;
  state_.own_reads.start(agreement.ord);
  state_.peer_reads.start(agreement.ird);
  state_.started = true;
  state_.gate_open = initiator;
  send_.start(initiator);
}

void QpCore::flush() {
  send_.flush();
  state_.own_reads.clear();
  state_.peer_reads.clear();
  state_.started = false;
  receive_.flush();
}

}  // namespace mrpool::uiwarp
