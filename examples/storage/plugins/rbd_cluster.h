// Clients of a Ceph cluster, which images and records share.
//
// Images with the same ceph.conf, user and client name share one client. A client that the cluster
// has fenced (blocklisted) stays fenced, so the next image gets a new client.
//
// Thread safety: any thread. Ownership: shared; a client ends with its last user.
#pragma once

#include <rados/librados.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "examples/storage/remote_api.h"

namespace mrpool::storage {

// What failed, with a negative errno.
struct Failure {
  int error = 0;
  std::string message{};
  explicit operator bool() const { return error != 0; }
};
inline Failure failure(int error, const std::string& what) {
  return {error, what + ": " + std::strerror(-error)};
}

// How a cluster is reached.
struct Way {
  std::string conf;  // empty: where Ceph looks for it
  std::string user;
  bool operator<(const Way& other) const {
    return conf != other.conf ? conf < other.conf : user < other.user;
  }
};

const char* option_of(const RemoteAddress& address, std::string_view name);
Way way_of(const RemoteAddress& address);

// A client of a cluster.
class Cluster {
 public:
  // For how long the operations of a client wait.
  enum class Patience { kEndless, kShort };

  // The one that there is already, or a new one. Null: see `failed`.
  static std::shared_ptr<Cluster> of(const Way& way, const std::string& client, Failure& failed);
  // Another one than those that replace() has returned before.
  static std::shared_ptr<Cluster> replace(const Way& way, const std::string& client,
                                          Failure& failed);
  // One that nobody else gets.
  static std::shared_ptr<Cluster> alone(const Way& way, Patience patience, Failure& failed);

  Cluster() = default;
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  ~Cluster() {
    if (cluster_ != nullptr) rados_shutdown(cluster_);
  }
  rados_t get() const { return cluster_; }
  // It was fenced or replaced: it gets no more images. Relaxed: one too many fails.
  void set_fenced() { fenced_.store(true, std::memory_order_relaxed); }
  bool fenced() const { return fenced_.load(std::memory_order_relaxed); }

 private:
  Failure connect(const Way& way, Patience patience);
  Failure configure(const char* conf, Patience patience);

  rados_t cluster_ = nullptr;
  std::atomic<bool> fenced_{false};
  std::atomic<bool> returned_{false};  // by replace()
};

}  // namespace mrpool::storage
