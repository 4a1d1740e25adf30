// Authentication of a queue's host: DH-HMAC-CHAP over Authentication Send and Receive,
// [base] 8.3.5. Until it succeeds, the connection has the standing of a guest, and the queue
// refuses all commands except these and Disconnect.
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/nvmf/target/queue.h"
#include "examples/protocol/nvme/auth/messages.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;
using nvme::auth::ControllerSide;

// Requires authentication after Connect, if the host has a key.
void Queue::begin_proof() {
  const Controller::Identity& identity = controller_->identity();
  if (controller_->subsystem().keys(identity.host_nqn) == nullptr) return;
  prover_ = std::make_shared<ControllerSide>(identity.host_nqn, controller_->subsystem().nqn);
  proof_began_ = link_.now();
}

void Queue::dispatch_auth(Command& command) {
  // This host has no key.
  if (prover_ == nullptr) return respond(command, with_dnr(Status::kInvalidOpcode));
  const auto wire = std::bit_cast<nvme::AuthCommand>(command.sqe);
  const bool known = wire.security_protocol == nvme::auth::kSecurityProtocol &&
                     wire.specific0 == nvme::auth::kSecuritySpecific &&
                     wire.specific1 == nvme::auth::kSecuritySpecific;
  if (!known || wire.length == 0 || wire.length > kMaxProofBytes) {
    return respond(command, with_dnr(Status::kInvalidField));
  }
  if (wire.length != command.data.length) {
    return respond(command, with_dnr(Status::kSglDataLength));
  }
  if (wire.type == nvme::FabricsType::kAuthReceive) return send_proof(command);
  command.purpose = Purpose::kProof;
  if (!command.data.remote()) return take_proof(command);
  if (take_staging(command, *admin_, 1)) fetch(command);
}

// Processes the message of an Authentication Send.
void Queue::take_proof(Command& command) {
  if (!prover_->busy()) proof_began_ = link_.now();
  const bool proven = prover_->proven();
  const auto next = prover_->take(host_data(command, 0),
                                  controller_->subsystem().keys(controller_->identity().host_nqn));
  switch (next) {
    case ControllerSide::Next::kRefuse:
      return respond(command, with_dnr(Status::kCommandSequence));
    case ControllerSide::Next::kWork:
      if (prover_->expensive()) {
        command.stage = Stage::kProving;
        return context_.proofs.route_proof(
            prover_, {{context_.worker, link_.id()}, command.slot, command.serial, true});
      }
      prover_->work();
      prover_->worked();
      break;
    case ControllerSide::Next::kGoOn:
      break;
  }
  proof_moved(command, proven);
}

void Queue::proof_worked(uint32_t slot, uint32_t serial) {
  if (slot >= commands_.size()) return;
  Command& command = *commands_[slot];
  if (command.stage != Stage::kProving || command.serial != serial) return;
  const bool proven = prover_->proven();
  prover_->worked();
  proof_moved(command, proven);
}

// Answers an Authentication Send. `proven`: before it.
void Queue::proof_moved(Command& command, bool proven) {
  note_proof(proven);
  respond(command, Status::kSuccess);
  if (prover_->over()) link_.disconnect("its authentication failed");
}

// Authentication Receive.
void Queue::send_proof(Command& command) {
  if (!command.data.remote()) return respond(command, with_dnr(Status::kInvalidField));
  const bool proven = prover_->proven();
  std::vector<std::byte> message = prover_->answer(size_t(command.data.length));
  if (message.empty()) return respond(command, with_dnr(Status::kCommandSequence));
  note_proof(proven);
  if (link_.closing()) return finish(command);
  message.resize(size_t(command.data.length));
  command.purpose = Purpose::kReply;
  command.reply = std::move(message);
  if (take_staging(command, *admin_, 1)) send_reply(command);
}

// Counts and logs the end of an authentication, and admits the host.
void Queue::note_proof(bool proven) {
  const bool ended = std::exchange(proof_busy_, prover_->busy()) && !proof_busy_;
  if (!prover_->reason().empty() && !proof_failed_) {
    proof_failed_ = true;
    ++counters_->authentication_failures;
    return refuse_proof(prover_->reason());
  }
  if (!ended || !prover_->proven()) return;
  ++counters_->authentications;
  if (proven) return;  // a re-authentication changes nothing
  const std::string& host = controller_->identity().host_nqn;
  // The connection becomes one of its host's, and shares their resources. One for discovery stays a
  // guest's, as without authentication.
  if (!controller_->identity().discovery) {
    if (!link_.admit(engine::Standing::kMember, host)) {
      return link_.drop("its host has too many connections");
    }
    leaving_.push_back(std::exchange(admin_, context_.staging.flow(link_.share(), nullptr)));
  }
  if (queue_id_ == 0) {
    controller_->prove(link_.now());
  } else {
    controller_->note_traffic(link_.now());
  }
  log_begin();
}

void Queue::refuse_proof(const std::string& why) {
  const Controller::Identity& identity = controller_->identity();
  base::log({.event = base::Event::kLoginRefused,
             .peer = link_.peer(),
             .host = identity.host_nqn,
             .target = controller_->subsystem().nqn,
             .queue = queue_id_,
             .message = absl::StrCat(link_.peer(), " queue ", queue_id_, ": DH-HMAC-CHAP of ",
                                     identity.host_nqn, " to ", controller_->subsystem().nqn,
                                     " failed: ", why)});
}

// At the end of the connection: its host had to authenticate and did not.
void Queue::note_unproven(const std::string& ending) {
  if (!must_prove() || std::exchange(proof_failed_, true)) return;
  ++counters_->authentication_failures;
  refuse_proof(absl::StrCat("it ended before the host was authenticated (", ending,
                            "); the host needs the secret of its \"dhchap_key\""));
}

// Drops a connection whose host does not complete its authentication.
bool Queue::proof_overdue(Nanoseconds now) {
  if (prover_ == nullptr || (prover_->proven() && !prover_->busy())) return false;
  if (now - proof_began_ <= kProofTimeout) return false;
  if (!std::exchange(proof_failed_, true)) {
    ++counters_->authentication_failures;
    refuse_proof("it does not end in time");
  }
  link_.drop("no authentication in time");
  return true;
}

}  // namespace mrpool::nvmf_target
