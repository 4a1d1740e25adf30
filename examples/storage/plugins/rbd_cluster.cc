#include "examples/storage/plugins/rbd_cluster.h"

#include <array>
#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

namespace mrpool::storage {

const char* option_of(const RemoteAddress& address, std::string_view name) {
  for (size_t i = 0; i < address.option_count; ++i) {
    if (name == address.options[i].name) return address.options[i].value;
  }
  return nullptr;
}

Way way_of(const RemoteAddress& address) {
  const char* conf = option_of(address, "conf");
  const char* user = option_of(address, "id");
  return {conf == nullptr ? "" : conf, user == nullptr ? "admin" : user};
}

namespace {

// The clients that there are. Never destroyed: images may be closed after main().
struct Clients {
  std::mutex mutex;
  std::map<std::pair<Way, std::string>, std::weak_ptr<Cluster>> all;
};
Clients& clients() {
  static Clients& one = *new Clients;
  return one;
}

}  // namespace

std::shared_ptr<Cluster> Cluster::of(const Way& way, const std::string& client, Failure& failed) {
  const std::lock_guard lock(clients().mutex);
  auto& there = clients().all[{way, client}];
  if (auto cluster = there.lock()) {
    if (!cluster->fenced()) return cluster;
  }
  auto cluster = alone(way, Patience::kEndless, failed);
  there = cluster;
  return cluster;
}

std::shared_ptr<Cluster> Cluster::replace(const Way& way, const std::string& client,
                                          Failure& failed) {
  {
    const std::lock_guard lock(clients().mutex);
    const auto there = clients().all[{way, client}].lock();
    if (there != nullptr && there->returned_.load()) there->set_fenced();
  }
  auto cluster = of(way, client, failed);
  if (cluster != nullptr) cluster->returned_.store(true);
  return cluster;
}

std::shared_ptr<Cluster> Cluster::alone(const Way& way, Patience patience, Failure& failed) {
  auto cluster = std::make_shared<Cluster>();
  failed = cluster->connect(way, patience);
  return failed ? nullptr : cluster;
}

Failure Cluster::configure(const char* conf, Patience patience) {
  const int error = rados_conf_read_file(cluster_, conf);
  if (error == -ENOENT && conf == nullptr) {
    return {error, "there is no ceph.conf in /etc/ceph; write conf=FILE"};
  }
  if (error < 0) return failure(error, std::string(conf == nullptr ? "ceph.conf" : conf));
  // If the cluster does not answer, a daemon reports it soon.
  constexpr std::string_view kDefaultTimeout = "300";
  std::array<char, 32> timeout{};
  if (rados_conf_get(cluster_, "client_mount_timeout", timeout.data(), timeout.size()) == 0 &&
      kDefaultTimeout == timeout.data()) {
    rados_conf_set(cluster_, "client_mount_timeout", "15");
  }
  rados_conf_set(cluster_, "rbd_cache", "false");
  rados_conf_set(cluster_, "rbd_disable_zero_copy_writes", "false");
  if (patience == Patience::kShort) {
    rados_conf_set(cluster_, "rados_osd_op_timeout", "5");
    rados_conf_set(cluster_, "rados_mon_op_timeout", "5");
  }
  return {};
}

Failure Cluster::connect(const Way& way, Patience patience) {
  const std::string name = "client." + way.user;
  int error = rados_create2(&cluster_, "ceph", name.c_str(), 0);
  if (error < 0) {
    cluster_ = nullptr;
    return failure(error, name);
  }
  if (Failure failed = configure(way.conf.empty() ? nullptr : way.conf.c_str(), patience)) {
    return failed;
  }
  error = rados_connect(cluster_);
  switch (error) {
    case 0:
      return {};
    case -ETIMEDOUT:
      return {error, "the cluster's monitors do not answer; check \"mon host\" in ceph.conf"};
    case -ENOENT:
    case -EACCES:
    case -EPERM:
      return {error, "the cluster does not admit " + name +
                         "; check its keyring (\"keyring\" in ceph.conf) and id=USER"};
    default:
      return failure(error, "no connection to the cluster");
  }
}

}  // namespace mrpool::storage
