#include "examples/protocol/scsi/copy_records.h"

#include <algorithm>

#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

constexpr uint8_t kInProgress = 0x00, kWithoutErrors = 0x01, kWithErrors = 0x02;

}  // namespace

CopyRecords::Record* CopyRecords::find(uint8_t id) {
  const auto at = std::ranges::find(records_, id, &Record::id);
  return at == records_.end() ? nullptr : &*at;
}

void CopyRecords::forget_reported(const Record& record) {
  if (record.has_status || record.has_details) return;
  records_.erase(records_.begin() + (&record - records_.data()));
}

bool CopyRecords::begin(const CopyRun& run) {
  if (!run.list().identified) return true;
  const uint8_t id = run.list().id;
  const Record* const before = find(id);
  if (before != nullptr && before->run != nullptr) return false;
  std::erase_if(records_, [id](const Record& record) { return record.id == id; });
  records_.push_back({.id = id, .run = &run});
  return true;
}

void CopyRecords::end(const CopyRun& run, Status status, std::span<const uint8_t> sense) {
  const auto at = std::ranges::find(records_, &run, &Record::run);
  if (at == records_.end()) return;
  Record ended{.id = at->id,
               .status = status,
               .segments = run.segments_processed(),
               .bytes = run.copied(),
               .has_details = status != Status::kGood,
               .sense = {sense.begin(), sense.end()}};
  records_.erase(at);
  const auto has_ended = [](const Record& record) { return record.run == nullptr; };
  if (size_t(std::ranges::count_if(records_, has_ended)) == kMaxEnded) {
    records_.erase(std::ranges::find_if(records_, has_ended));
  }
  records_.push_back(std::move(ended));
}

void CopyRecords::forget_ended() {
  std::erase_if(records_, [](const Record& record) { return record.run == nullptr; });
}

bool CopyRecords::report_status(uint8_t id, std::vector<uint8_t>& data) {
  Record* const record = find(id);
  if (record == nullptr || !record->has_status) return false;
  const bool running = record->run != nullptr;
  uint64_t count = running ? record->run->copied() : record->bytes;
  uint8_t unit = 0;  // bytes, KiB, MiB...
  for (; count > 0xffffffff; count >>= 10) ++unit;
  data.assign(12, 0);
  be::store32(&data[0], 8);
  data[4] = running ? kInProgress : record->status == Status::kGood ? kWithoutErrors : kWithErrors;
  be::store16(&data[5], running ? record->run->segments_processed() : record->segments);
  data[7] = unit;
  be::store32(&data[8], uint32_t(count));
  if (running) return true;
  record->has_status = false;
  forget_reported(*record);
  return true;
}

bool CopyRecords::report_details(uint8_t id, uint64_t room, std::vector<uint8_t>& data) {
  Record* const record = find(id);
  if (record == nullptr || record->run != nullptr) return false;
  if (!record->has_details) {
    data.assign(4, 0);
    return true;
  }
  constexpr size_t kSenseAt = 60;
  data.assign(kSenseAt, 0);
  data[56] = uint8_t(record->status);
  be::store16(&data[58], uint16_t(record->sense.size()));
  data.insert(data.end(), record->sense.begin(), record->sense.end());
  be::store32(&data[0], uint32_t(data.size() - 4));
  if (room != 0 && room < data.size()) return true;
  record->has_details = false;
  forget_reported(*record);
  return true;
}

}  // namespace mrpool::scsi
