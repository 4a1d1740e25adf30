#include "examples/iser/initiator/unit_commands.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::iser {

UnitCommands::Transfer::Transfer(Ended ended)
    : Command(to_method<&Transfer::answered>), ended_(ended) {}

UnitCommands::UnitCommands(Session& session, Reactor& reactor, const Unit& unit, uint64_t lun,
                           const Sge& room)
    : session_(session),
      reactor_(reactor),
      unit_(unit),
      lun_(lun),
      reader_(session, reactor, lun, room) {}

void UnitCommands::submit(Transfer& transfer, bool write, uint64_t offset, const Sge& data) {
  const uint32_t block = unit_.capacity.block_size;
  transfer.owner_ = this;
  transfer.attempts_ = {};
  transfer.lun = lun_;
  transfer.direction = write ? DataDirection::kOut : DataDirection::kIn;
  transfer.data = data;
  transfer.cdb = transfer_cdb(write, offset / block, data.length / block);
  send(transfer);
}

void UnitCommands::send(Transfer& transfer) {
  std::erase(delayed_, &transfer);
  if (holds()) return held_.push_back(&transfer);
  session_.submit(transfer);
}

void UnitCommands::judge(Transfer& transfer) {
  switch (transfer.attempts_.judge(transfer)) {
    case Attempts::Next::kDone:
      return end(transfer,
                 check_moved(transfer.data.length, transfer.transferred, transfer.overflow));
    case Attempts::Next::kFailed:
      return end(transfer, failure(transfer, session_));
    case Attempts::Next::kAttention:
      held_.push_back(&transfer);
      if (held_.size() == 1) {
        reader_.read([this](const absl::StatusOr<Unit>& unit) { looked(unit); });
      }
      return;
    case Attempts::Next::kLater:
      delayed_.push_back(&transfer);
      return transfer.retry_.arm(reactor_, transfer.attempts_.delay());
  }
}

void UnitCommands::end(Transfer& transfer, const absl::Status& status) {
  transfer.ended_(transfer, status);
}

void UnitCommands::looked(const absl::StatusOr<Unit>& unit) {
  const absl::Status same = check_again(unit_, unit);
  for (Transfer* const transfer : std::exchange(held_, {})) {
    if (same.ok()) {
      session_.submit(*transfer);
    } else {
      end(*transfer, same);
    }
  }
}

void UnitCommands::hurry() {
  reader_.hurry();
  for (Transfer* const transfer : std::exchange(delayed_, {})) {
    transfer->retry_.cancel();
    send(*transfer);
  }
}

}  // namespace mrpool::iser
