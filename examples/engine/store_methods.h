// The methods of the control socket for named stores, with SPDK's names: bdev_malloc_*,
// bdev_null_*, bdev_aio_*, bdev_uring_*, bdev_rbd_*, bdev_get_bdevs, bdev_get_iostat,
// bdev_set_qos_limit (qos_methods.h); and
// mrpool_store_create and mrpool_store_delete for any storage.
//
// Thread safety: the main loop's thread, but for StoreHolder::tell_sizes. Ownership: the holder
// outlives the methods.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/administration.h"
#include "examples/engine/named_stores.h"
#include "examples/engine/rate_limits.h"
#include "examples/metrics/snapshot.h"
#include "examples/storage/storage.h"

namespace mrpool::engine {

// A store that is open, named or not.
struct HeldStore {
  std::string name;
  std::shared_ptr<storage::Volume> volume;
  storage::Uuid uuid{};
  bool used = false;       // by a namespace or a logical unit
  metrics::IoTotals io{};  // of that namespace or unit, since the start
  RateLimits limits{};
};

// A named store, `open` (its name, volume and UUID), that no namespace or unit uses.
template <typename Open>
HeldStore unused_store(const std::vector<NamedStore>& configured, const Open& open) {
  HeldStore held{.name = open.name, .volume = open.volume, .uuid = open.uuid};
  if (const NamedStore* store = find_store(configured, open.name)) held.limits = store->limits;
  return held;
}

// The interface to the daemon.
class StoreHolder {
 public:
  using Edit = std::function<absl::Status(std::vector<NamedStore>&)>;

  virtual std::vector<HeldStore> held_stores() = 0;
  // Returns the steps of a change of the named stores.
  virtual std::vector<Step> change_stores(Edit edit) = 0;
  // Returns the steps of a change of the limits of a store, named or not.
  using EditLimits = std::function<absl::Status(RateLimits&)>;
  virtual std::vector<Step> change_limits(const std::string& store, EditLimits edit) = 0;
  // The default block size of the daemon's stores.
  virtual uint32_t default_block_size() const = 0;
  // Notifies hosts of changed sizes. May be called on another thread.
  virtual void tell_sizes() = 0;

 protected:
  ~StoreHolder() = default;
};

// Destroying the result removes the methods.
[[nodiscard]] std::shared_ptr<void> add_store_methods(Administration& administration,
                                                      StoreHolder& holder);

// Answers a request when its change has ended: with `result`, or with the error.
Changes::Done answer_with(control::Reply reply, boost::json::value result);

}  // namespace mrpool::engine
