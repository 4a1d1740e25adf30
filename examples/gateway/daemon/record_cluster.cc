#include "examples/gateway/daemon/record_cluster.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace mrpool::gateway {

namespace asio = boost::asio;

namespace {

storage::RecordEntries entries_of(const std::vector<Entry>& entries) {
  storage::RecordEntries all;
  for (const Entry& each : entries) all.insert_or_assign(each.key, each.text);
  return all;
}

}  // namespace

absl::Status save(storage::Records& records, const GuardedWrite& write) {
  return records.write(entries_of(write.guards), entries_of(write.sets));
}

RecordCluster::RecordCluster(asio::io_context& loop, std::shared_ptr<storage::Records> records,
                             std::function<void(const absl::Status&)> failed)
    : loop_(loop),
      records_(std::move(records)),
      failed_(std::make_shared<std::function<void(const absl::Status&)>>(std::move(failed))) {}

// Completions that are in the loop already are dropped.
RecordCluster::~RecordCluster() { *failed_ = nullptr; }

void RecordCluster::note(const absl::Status& status) {
  asio::post(loop_, [status, failed = failed_] {
    if (*failed) (*failed)(status);
  });
}

template <typename Result>
void RecordCluster::run(base::JobThread& thread, std::function<Result(storage::Records&)> job,
                        std::function<void(Result)> done) {
  thread.run([this, job = std::move(job), done = std::move(done)] {
    asio::post(loop_, [done, alive = failed_, result = job(*records_)]() mutable {
      if (*alive) done(std::move(result));
    });
  });
}

void RecordCluster::read(std::function<void(std::optional<Records>)> done) {
  run<std::optional<Records>>(
      entries_,
      [this](storage::Records& records) -> std::optional<Records> {
        auto all = records.read();
        if (all.ok()) return *std::move(all);
        note(all.status());
        return std::nullopt;
      },
      std::move(done));
}

void RecordCluster::write(GuardedWrite write, std::function<void(Written)> done) {
  run<Written>(
      entries_,
      [this, write = std::move(write)](storage::Records& records) {
        const absl::Status status = save(records, write);
        if (status.ok()) return Written::kDone;
        if (absl::IsAborted(status)) return Written::kRefused;
        note(status);
        return Written::kUnknown;
      },
      std::move(done));
}

void RecordCluster::connect(std::string_view group, std::function<void(std::string)> done) {
  run<std::string>(
      clients_,
      [this, name = std::string(group)](storage::Records& records) -> std::string {
        auto address = records.connect(name);
        if (address.ok()) return *std::move(address);
        note(address.status());
        return {};
      },
      std::move(done));
}

void RecordCluster::fence(std::string_view group, std::vector<std::string> clients,
                          std::function<void(bool)> done) {
  run<bool>(
      clients_,
      [this, name = std::string(group), clients = std::move(clients)](storage::Records& records) {
        absl::Status status;
        for (const std::string& client : clients) {
          if (status.ok()) status = records.fence(client);
        }
        if (status.ok()) status = records.settle(name);
        if (!status.ok()) note(status);
        return status.ok();
      },
      std::move(done));
}

}  // namespace mrpool::gateway
