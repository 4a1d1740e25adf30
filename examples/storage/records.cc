#include "examples/storage/records.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/storage/rbd.h"

namespace mrpool::storage {
namespace {

constexpr std::string_view kOptions[] = {"conf", "id", "namespace"};

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

absl::StatusOr<StoreSpec> Records::parse(std::string_view text) {
  const std::string address(text);
  auto spec = parse_spec(address);
  if (!spec.ok()) return spec.status();
  const size_t slash = spec->target.find('/');
  if (spec->scheme != "rbd" || slash == 0 || slash == std::string::npos ||
      slash + 1 == spec->target.size()) {
    return bad("\"", address, "\" is not an object of a cluster; write rbd:POOL/OBJECT");
  }
  for (const StoreSpec::Option& option : spec->options) {
    if (std::ranges::find(kOptions, option.name) == std::end(kOptions)) {
      return bad("\"", address, "\": ", option.name,
                 " is not known; use conf=FILE, id=USER, namespace=NAME");
    }
    if (option.value.empty()) {
      return bad("\"", address, "\": ", option.name, "= has no value; leave it out, or write one");
    }
  }
  return spec;
}

absl::StatusOr<std::unique_ptr<Records>> Records::open(std::string_view text) {
  const std::string address(text);
  const auto spec = parse(address);
  if (!spec.ok()) return spec.status();
  const auto api = rbd_plugin();
  if (!api.ok()) return api.status();
  std::vector<RemoteOption> options;
  for (const StoreSpec::Option& option : spec->options) {
    options.push_back({option.name.c_str(), option.value.c_str()});
  }
  const RemoteAddress remote{.target = spec->target.c_str(),
                             .options = options.data(),
                             .option_count = options.size(),
                             .read_only = false};
  std::array<char, 1024> error{};
  void* records = nullptr;
  const RemoteRecordsApi& table = *(*api)->records;
  const int failed = table.open(remote, &records, error.data(), error.size());
  if (failed == 0) {
    return std::unique_ptr<Records>(new Records(address, table, records));
  }
  return absl::Status(absl::ErrnoToStatusCode(-failed), absl::StrCat(address, ": ", error.data()));
}

Records::~Records() { api_.close(records_); }

absl::Status Records::status_of(int error, const std::string& what) const {
  if (error == 0) return absl::OkStatus();
  const std::string text = absl::StrCat(address_, ": ", what, ": ", std::strerror(-error));
  if (error == -ECANCELED) return absl::AbortedError(text);
  if (error == -ETIMEDOUT) {
    return absl::DeadlineExceededError(
        absl::StrCat(address_, ": ", what, ": the cluster does not answer"));
  }
  if (error == -EPERM || error == -EACCES) {
    return absl::PermissionDeniedError(absl::StrCat(
        text, "; give the user the capability \"profile rbd\" of mon and of the pool"));
  }
  return absl::Status(absl::ErrnoToStatusCode(-error), text);
}

absl::StatusOr<RecordEntries> Records::read() {
  RecordEntries all;
  const int error = api_.read(records_, &all, [](void* to, const RemoteEntry& entry) {
    static_cast<RecordEntries*>(to)->insert_or_assign(entry.key, entry.value);
  });
  if (error < 0) return status_of(error, "reading the records");
  return all;
}

absl::Status Records::write(const RecordEntries& guards, const RecordEntries& changes) {
  const auto to_remote = [](const RecordEntries& entries) {
    std::vector<RemoteEntry> all;
    for (const auto& [key, value] : entries) all.push_back({key.c_str(), value.c_str()});
    return all;
  };
  const std::vector<RemoteEntry> given = to_remote(guards), changed = to_remote(changes);
  return status_of(api_.write(records_, given.data(), given.size(), changed.data(), changed.size()),
                   "changing the records");
}

absl::StatusOr<std::string> Records::connect(const std::string& name) {
  std::array<char, 512> address{};
  const int error = api_.connect(records_, name.c_str(), address.data(), address.size());
  if (error < 0) return status_of(error, absl::StrCat("the client \"", name, "\""));
  return std::string(address.data());
}

absl::Status Records::fence(const std::string& address) {
  return status_of(api_.fence(records_, address.c_str()), absl::StrCat("fencing ", address));
}

absl::Status Records::settle(const std::string& name) {
  return status_of(api_.settle(records_, name.c_str()), "waiting for the map of the cluster");
}

}  // namespace mrpool::storage
