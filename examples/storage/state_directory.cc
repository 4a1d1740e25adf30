#include "examples/storage/state_directory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "examples/base/log.h"
#include "examples/storage/spec.h"
#include "examples/storage/state_file.h"

namespace mrpool::storage {
namespace {

constexpr std::string_view kHead = "mrpool stores 1";
constexpr std::string_view kNone = "-";

std::string_view or_none(const std::string& text) {
  return text.empty() ? kNone : std::string_view(text);
}
std::string from(std::string_view field) { return std::string(field == kNone ? "" : field); }

// The path as the file has it; the same for every way to write it from every working directory.
std::string place_of(const std::string& path) {
  if (path.empty()) return {};
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  return escape(error ? path : whole.lexically_normal().string());
}

std::string report_of_other(const std::string& place, const Uuid& before,
                            const StoreIdentity& identity, const Uuid& now) {
  return absl::StrCat(place, " is another store than was served from there before, whose UUID was ",
                      format_uuid(before), ": hosts see ", identity.text(),
                      " as another disk, UUID ", format_uuid(now),
                      "; if it is a copy that replaces the old one, give it the old UUID in the "
                      "configuration");
}

}  // namespace

StateDirectory::StateDirectory(const std::string& path, Descriptor lock)
    : file_(path + "/stores"), lock_(std::move(lock)) {}

absl::Status StateDirectory::check(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--state-dir ", path, ": no such directory; create it first, or choose another"));
  }
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--state-dir ", path, ": nothing can be written here: ", strerror(errno)));
  }
  return StateDirectory(path, Descriptor(-1)).read();
}

absl::StatusOr<std::unique_ptr<StateDirectory>> StateDirectory::open(const std::string& path) {
  if (absl::Status status = check(path); !status.ok()) return status;
  absl::StatusOr<Descriptor> lock = own_state_directory(path);
  if (!lock.ok()) return lock.status();
  std::unique_ptr<StateDirectory> state(new StateDirectory(path, *std::move(lock)));
  if (absl::Status status = state->read(); !status.ok()) return status;
  return state;
}

bool StateDirectory::parse(std::string_view line, Record& record) {
  const std::vector<std::string_view> fields =
      absl::StrSplit(absl::string_view(line.data(), line.size()), ' ');
  if (fields.size() != 4) return false;
  const absl::StatusOr<Uuid> uuid = parse_uuid(fields[0]);
  if (!uuid.ok() || fields[1].empty() || fields[2].empty() || fields[3].empty()) return false;
  record = {.uuid = *uuid,
            .identity = std::string(fields[1]),
            .lasting = from(fields[2]),
            .place = from(fields[3])};
  return true;
}

absl::Status StateDirectory::read() {
  const absl::StatusOr<std::string> content = read_state(file_);
  if (!content.ok()) return content.status();
  if (content->empty()) return absl::OkStatus();
  size_t number = 0;
  for (const absl::string_view each : absl::StrSplit(absl::StripSuffix(*content, "\n"), '\n')) {
    const std::string_view line(each.data(), each.size());
    Record record;
    if (++number == 1 ? line != kHead : !parse(line, record)) {
      return absl::DataLossError(
          absl::StrCat(file_, ": line ", number,
                       " is unreadable; restore the file, or remove it: stores then get UUIDs by "
                       "their present identity"));
    }
    if (number > 1) records_.push_back(std::move(record));
  }
  return absl::OkStatus();
}

absl::Status StateDirectory::write(const std::vector<Record>& records) {
  std::string text = absl::StrCat(std::string(kHead), "\n");
  for (const Record& record : records) {
    absl::StrAppend(&text, format_uuid(record.uuid), " ", record.identity, " ",
                    std::string(or_none(record.lasting)), " ", std::string(or_none(record.place)),
                    "\n");
  }
  return write_state(file_, text);
}

// With a UUID that no other store has: device numbers, and so identities, are used again.
StateDirectory::Record& StateDirectory::add(const StoreIdentity& identity) {
  std::vector<Record>& records = next_->records;
  Uuid uuid = storage::uuid_of(identity);
  while (std::ranges::find(records, uuid, &Record::uuid) != records.end()) {
    uuid = derive_uuid(absl::StrCat(format_uuid(uuid), " is taken"));
  }
  if (records.size() >= kMaxStores) records.erase(records.begin());
  return records.emplace_back(Record{uuid, identity.text(), identity.lasting(), /*place=*/{}});
}

Uuid StateDirectory::look_up(const Store& store) {
  std::vector<Record>& records = next_->records;
  const StoreIdentity& identity = store.identity;
  const std::string place = place_of(store.path);
  const auto here = [&](const Record& record) { return !place.empty() && record.place == place; };
  // A device number means the same only as long as this process has the store.
  const auto same = [&](const Record& record) {
    return record.identity == identity.text() && record.lasting == identity.lasting() &&
           (identity.stable() || next_->seen.contains(record.uuid));
  };
  auto found = records.end();
  if (!identity.stable()) {
    found = std::ranges::find_if(records, [&](const Record& record) {
      return here(record) && record.lasting == identity.lasting();
    });
  }
  if (found == records.end()) found = std::ranges::find_if(records, same);
  const auto other = std::ranges::find_if(records, here);
  if (other != records.end() && other != found) {
    const Uuid before = other->uuid;
    other->place.clear();
    Record& record = found != records.end() ? *found : add(identity);
    record.place = place;
    next_->reports.push_back(report_of_other(store.path, before, identity, record.uuid));
    return record.uuid;
  }
  Record& record = found != records.end() ? *found : add(identity);
  record.identity = identity.text();
  record.place = place;
  return record.uuid;
}

std::optional<Uuid> StateDirectory::known_at(const std::string& path) const {
  const auto found = std::ranges::find(records_, place_of(path), &Record::place);
  if (path.empty() || found == records_.end()) return std::nullopt;
  return found->uuid;
}

absl::StatusOr<std::unique_ptr<const StateDirectory>> StateDirectory::look(
    const std::string& path) {
  std::unique_ptr<StateDirectory> state(new StateDirectory(path, Descriptor(-1)));
  if (absl::Status status = state->read(); !status.ok()) return status;
  return std::unique_ptr<const StateDirectory>(std::move(state));
}

std::vector<Uuid> StateDirectory::uuids_of(std::span<const Store> stores) {
  next_ = Next{.records = records_, .seen = seen_, .reports = {}};
  std::vector<Uuid> uuids;
  for (const Store& store : stores) {
    // Memory without a name is gone with the process.
    const bool kept = store.identity.kind() != StoreIdentity::Kind::kUnnamed;
    uuids.push_back(kept ? look_up(store) : storage::uuid_of(store.identity));
    next_->seen.insert(uuids.back());
  }
  return uuids;
}

absl::Status StateDirectory::keep() {
  if (!next_) return absl::OkStatus();
  if (next_->records != records_) {
    if (absl::Status status = write(next_->records); !status.ok()) return status;
  }
  for (const std::string& report : next_->reports) {
    base::log({.event = base::Event::kStoreChanged, .message = report});
  }
  records_ = std::move(next_->records);
  seen_ = std::move(next_->seen);
  next_.reset();
  return absl::OkStatus();
}

std::vector<Uuid> derived_uuids(StateDirectory* state,
                                std::span<const std::shared_ptr<Volume>> stores) {
  std::vector<Uuid> uuids(stores.size());
  std::vector<StateDirectory::Store> nameless;
  for (size_t i = 0; i < stores.size(); ++i) {
    if (stores[i] == nullptr) continue;
    uuids[i] = uuid_of(stores[i]->identity());
    const absl::StatusOr<StoreSpec> spec = parse_spec(stores[i]->spec());
    const bool file = spec.ok() && spec->scheme == "file";
    nameless.push_back({stores[i]->identity(), file ? spec->target : std::string()});
  }
  if (state == nullptr) return uuids;
  const std::vector<Uuid> kept = state->uuids_of(nameless);
  auto next = kept.begin();
  for (size_t i = 0; i < stores.size(); ++i) {
    if (stores[i] != nullptr) uuids[i] = *next++;
  }
  return uuids;
}

}  // namespace mrpool::storage
