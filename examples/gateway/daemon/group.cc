#include "examples/gateway/daemon/group.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/gateway/daemon/record_cluster.h"

namespace mrpool::gateway {

absl::StatusOr<std::unique_ptr<Group>> Group::open(const Options& options, std::string group_word) {
  auto records = storage::Records::open(options.storage);
  if (!records.ok()) {
    return absl::Status(records.status().code(),
                        absl::StrCat("gateway group: ", records.status().message()));
  }
  return std::unique_ptr<Group>(new Group(options, std::move(group_word), *std::move(records)));
}

void Group::start(boost::asio::io_context& loop, Served& served, uint32_t groups) {
  groups_.store(groups);
  Runner::Options options{
      .name = options_.name, .groups = {}, .times = times_of(options_), .group_word = group_word_};
  for (uint32_t group = 1; group <= groups; ++group) options.groups.push_back(absl::StrCat(group));
  const auto make = [&](std::function<void(const absl::Status&)> failed) {
    return std::make_unique<RecordCluster>(loop, records_, std::move(failed));
  };
  runner_ = std::make_unique<Runner>(loop, make, served, std::move(options));
  boost::asio::post(loop, [this] { runner_->start(); });
}

void Group::leave(std::function<void()> done) { runner_->leave(std::move(done)); }

absl::Status Group::save(std::string_view group, const std::string& key, const std::string& text) {
  auto guard = runner_ == nullptr ? std::nullopt : runner_->guard(group);
  if (!guard) {
    return absl::FailedPreconditionError(absl::StrCat("gateway ", options_.name, " does not own ",
                                                      group_word_, " ", std::string(group)));
  }
  const absl::Status status =
      mrpool::gateway::save(*records_, {.guards = {*std::move(guard)}, .sets = {{key, text}}});
  if (!status.ok()) runner_->refused(group);
  return status;
}

absl::Status Group::note(const std::string& key, const std::string& text) {
  return mrpool::gateway::save(*records_, {.guards = {}, .sets = {{key, text}}});
}

absl::StatusOr<Records> Group::read() {
  auto records = records_->read();
  if (!records.ok()) return records.status();
  return Records(records->begin(), records->end());
}

Status Group::status() const { return runner_ == nullptr ? Status{} : runner_->status(); }

}  // namespace mrpool::gateway
