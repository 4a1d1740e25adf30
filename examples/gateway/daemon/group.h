// The group of gateways as a daemon belongs to it: the records in the cluster, and this gateway's
// part (runner.h).
//
// Thread safety: the main loop's thread; save(), read() and status(): any thread.
// Ownership: it outlives the service that saves by it. The io_context of start() outlives it.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/gateway/daemon/options.h"
#include "examples/gateway/daemon/runner.h"
#include "examples/gateway/daemon/served.h"
#include "examples/gateway/records.h"
#include "examples/storage/records.h"

namespace mrpool::gateway {

class Group {
 public:
  // Reaches the records; blocks. `options` are complete; `group_word` is for the log: "ANA group".
  static absl::StatusOr<std::unique_ptr<Group>> open(const Options& options,
                                                     std::string group_word);

  // Begins, when the loop runs. `groups`: how many ANA groups there are.
  void start(boost::asio::io_context& loop, Served& served, uint32_t groups);
  // Gives all groups back, then calls `done`.
  void leave(std::function<void()> done);

  // Keeps a text that only the owner of the group may keep. An error means that another gateway
  // may be the owner, or that it is not known whether the text is kept: this gateway stops serving
  // the group then. Blocks.
  absl::Status save(std::string_view group, const std::string& key, const std::string& text);
  // Keeps a text of this gateway. Blocks.
  absl::Status note(const std::string& key, const std::string& text);
  absl::StatusOr<Records> read();  // blocks
  Status status() const;
  const std::string& name() const { return options_.name; }
  // How many ANA groups have owners. Unlimited before start().
  uint32_t groups() const { return groups_.load(); }

 private:
  Group(const Options& options, std::string group_word, std::shared_ptr<storage::Records> records)
      : options_(options), group_word_(std::move(group_word)), records_(std::move(records)) {}

  const Options options_;
  const std::string group_word_;
  const std::shared_ptr<storage::Records> records_;
  std::atomic<uint32_t> groups_{UINT32_MAX};
  std::unique_ptr<Runner> runner_;
};

}  // namespace mrpool::gateway
