// The cluster of a gateway (cluster.h) in a remote store, by storage/records.h.
//
// Its calls block, so two threads make them: one for reads and writes, so that a renewal waits for
// no other call, and one for clients and fences.
//
// Thread safety: one thread, that of the io_context. Ownership: the io_context outlives it. The
// destructor waits for the calls that are under way.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/base/job_thread.h"
#include "examples/gateway/cluster.h"
#include "examples/storage/records.h"

namespace mrpool::gateway {

class RecordCluster final : public Cluster {
 public:
  // `failed` gets the reason of each call that fails.
  RecordCluster(boost::asio::io_context& loop, std::shared_ptr<storage::Records> records,
                std::function<void(const absl::Status&)> failed);
  ~RecordCluster() override;

  void read(std::function<void(std::optional<Records>)> done) override;
  void write(GuardedWrite write, std::function<void(Written)> done) override;
  void connect(std::string_view group, std::function<void(std::string)> done) override;
  void fence(std::string_view group, std::vector<std::string> clients,
             std::function<void(bool)> done) override;

 private:
  // Runs `job` on the thread, then `done` with its result on the loop.
  template <typename Result>
  void run(base::JobThread& thread, std::function<Result(storage::Records&)> job,
           std::function<void(Result)> done);
  void note(const absl::Status& status);

  boost::asio::io_context& loop_;
  const std::shared_ptr<storage::Records> records_;
  const std::shared_ptr<std::function<void(const absl::Status&)>> failed_;
  base::JobThread entries_{base::JobThread::AtEnd::kDropJobs};
  base::JobThread clients_{base::JobThread::AtEnd::kDropJobs};
};

// The write as storage::Records makes it; for others that save with a guard.
absl::Status save(storage::Records& records, const GuardedWrite& write);

}  // namespace mrpool::gateway
