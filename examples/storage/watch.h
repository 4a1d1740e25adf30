// Watches the stores that are served: whether they grow, shrink, are replaced or vanish. It looks
// periodically, and at once when a store reports a change.
//
// Thread safety: StoreLook: one thread. StoreWatch: made and destroyed by one thread; its calls
// come from a thread of its own, one at a time. Ownership: looking at a store keeps it open
// meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

// The sizes seen last, so that each change is reported once.
class StoreLook {
 public:
  // Takes the sizes that the stores have now (Volume::refresh) and returns a line for each change.
  // Blocks as long as a file system does.
  std::vector<std::string> look(std::span<const std::shared_ptr<Volume>> stores);

 private:
  struct Seen {
    std::weak_ptr<Volume> volume;
    uint64_t bytes = 0;
    absl::Status trouble;  // OK: it is where it should be, and nobody else's
  };
  std::map<const Volume*, Seen> seen_;
};

// A store reports a change: every watch of this process looks at once. Any thread.
void look_at_stores();

class StoreWatch {
 public:
  using Stores = std::function<std::vector<std::shared_ptr<Volume>>()>;
  using Report = std::function<void(std::span<const std::string> lines)>;

  // At once, every `period` and at look_at_stores() asks for the stores, looks at them, and calls
  // `report`, without lines when nothing has changed.
  StoreWatch(std::chrono::nanoseconds period, Stores stores, Report report);
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;
  // No call follows. A look that hangs in a file system is waited for a second, then left alone.
  ~StoreWatch();

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace mrpool::storage
