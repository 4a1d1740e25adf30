#include "examples/iser/initiator/unit.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"

namespace mrpool::iser {
namespace {

constexpr size_t kSerialStep = 0, kIdentifiersStep = 1, kCapacityStep = 2, kSteps = 3;

scsi::Cdb command_of(size_t step) {
  if (step == kCapacityStep) {
    scsi::Cdb cdb{0x9e, 0x10};
    be::store32(&cdb[10], 32);
    return cdb;
  }
  scsi::Cdb cdb{0x12, 1, uint8_t(step == kSerialStep ? 0x80 : 0x83)};
  be::store16(&cdb[3], uint16_t(UnitReader::kBuffer));
  return cdb;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

absl::StatusOr<Capacity> parse_capacity(std::span<const std::byte> data) {
  if (data.size() < 12) {
    return absl::InternalError(
        absl::StrCat("the unit answers READ CAPACITY with ", data.size(), " bytes, not 12"));
  }
  const uint64_t last = be::load64(&data[0]);
  const uint32_t block_size = be::load32(&data[8]);
  if (!std::has_single_bit(block_size) || block_size < kSmallestUnitBlock ||
      block_size > kLargestUnitBlock) {
    return absl::UnimplementedError(
        absl::StrCat("the unit has blocks of ", block_size, " bytes; only powers of two within ",
                     kSmallestUnitBlock, "..", kLargestUnitBlock, " will do"));
  }
  if (last >= uint64_t{INT64_MAX} / block_size) {
    return absl::UnimplementedError(absl::StrCat("the unit claims a last block of ", last,
                                                 ", more than 8 EiB with blocks of ", block_size));
  }
  return Capacity{last + 1, block_size};
}

std::span<const std::byte> page_data(std::span<const std::byte> page) {
  constexpr size_t kHeader = 4;
  if (page.size() < kHeader) return {};
  return page.subspan(kHeader, std::min<size_t>(page.size() - kHeader, be::load16(&page[2])));
}

std::string unit_designators(std::span<const std::byte> list) {
  constexpr size_t kHeader = 4;
  std::string found;
  while (list.size() >= kHeader) {
    const size_t size = std::min(kHeader + size_t(list[3]), list.size());
    const bool of_unit = (uint8_t(list[1]) & 0x30) == 0;  // ASSOCIATION
    if (of_unit) found += text_of(list.first(size));
    list = list.subspan(size);
  }
  return found;
}

absl::Status check_same(const Unit& was, const Unit& is) {
  if (was == is) return absl::OkStatus();
  std::string what = "its identifiers have changed";
  if (was.serial != is.serial) {
    what = absl::StrCat("its serial number is '", absl::CHexEscape(is.serial), "', it was '",
                        absl::CHexEscape(was.serial), "'");
  } else if (was.capacity != is.capacity) {
    what = absl::StrCat("it has ", is.capacity.blocks, " blocks of ", is.capacity.block_size,
                        " bytes, it had ", was.capacity.blocks, " of ", was.capacity.block_size);
  }
  return absl::AbortedError(absl::StrCat("the unit was replaced: ", what));
}

absl::Status check_again(const Unit& was, const absl::StatusOr<Unit>& is) {
  if (is.ok()) return check_same(was, *is);
  const bool lost = absl::IsUnavailable(is.status()) || absl::IsCancelled(is.status());
  return lost ? is.status() : absl::AbortedError(is.status().message());
}

UnitReader::UnitReader(Session& session, Reactor& reactor, uint64_t lun, const Sge& buffer)
    : session_(session), reactor_(reactor), buffer_(buffer) {
  command_.lun = lun;
  command_.direction = DataDirection::kIn;
}

void UnitReader::read(Done done) {
  done_ = std::move(done);
  attempts_ = {};  // counted over all its commands
  start_over();
}

void UnitReader::hurry() {
  if (!retry_.armed()) return;
  retry_.cancel();
  submit();
}

void UnitReader::start_over() {
  unit_ = {};
  step_ = 0;
  ask();
}

void UnitReader::ask() {
  command_.cdb = command_of(step_);
  command_.data = {buffer_.addr, step_ == kCapacityStep ? 32 : kBuffer, buffer_.lkey};
  submit();
}

void UnitReader::answered() {
  switch (attempts_.judge(command_)) {
    case Attempts::Next::kAttention:
      return start_over();  // the event may concern data that was read already
    case Attempts::Next::kLater:
      return retry_.arm(reactor_, attempts_.delay());
    case Attempts::Next::kFailed:
      // The pages are optional; every unit has a capacity.
      if (step_ != kCapacityStep && command_.sense &&
          command_.sense->key == scsi::SenseKey::kIllegalRequest &&
          !command_.sense->same_code(scsi::kLunNotSupported)) {
        break;
      }
      if (command_.sense && command_.sense->same_code(scsi::kLunNotSupported)) {
        return finish(absl::NotFoundError("there is no such unit"));
      }
      return finish(failure(command_, session_));
    case Attempts::Next::kDone:
      if (absl::Status status = take(); !status.ok()) return finish(status);
      break;
  }
  if (++step_ == kSteps) return finish(std::move(unit_));
  ask();
}

absl::Status UnitReader::take() {
  if (step_ == kSerialStep) unit_.serial = text_of(page_data(data()));
  if (step_ == kIdentifiersStep) unit_.identifiers = unit_designators(page_data(data()));
  if (step_ != kCapacityStep) return absl::OkStatus();
  const auto capacity = parse_capacity(data());
  if (capacity.ok()) unit_.capacity = *capacity;
  return capacity.status();
}

void UnitReader::finish(absl::StatusOr<Unit> result) {
  std::exchange(done_, nullptr)(std::move(result));  // may destroy this
}

scsi::Cdb transfer_cdb(bool write, uint64_t lba, uint32_t blocks) {
  scsi::Cdb cdb{};
  cdb[0] = write ? 0x8a : 0x88;
  be::store64(&cdb[2], lba);
  be::store32(&cdb[10], blocks);
  return cdb;
}

}  // namespace mrpool::iser
