// A worker's channels to volumes: one for each volume, shared by the worker's links.
//
// Thread safety: the worker's thread. Ownership: the worker owns it. A channel stays open while a
// link holds it, a command uses it, or a request is pending in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "examples/engine/device_context.h"
#include "examples/engine/stores.h"
#include "examples/storage/storage.h"
#include "mrpool/mr.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// One volume and this worker's channel to it. `uses` counts commands, `handles` counts links that
// hold it.
struct ChannelSlot {
  std::shared_ptr<storage::Volume> volume;
  std::unique_ptr<storage::Channel> channel;
  std::map<DeviceContext*, std::shared_ptr<Mr>> memory;
  uint32_t uses = 0;
  uint32_t handles = 0;
};

class Channels {
 public:
  explicit Channels(Reactor& reactor) : reactor_(reactor) {}

  // Opens the channel at the first use; null when that fails. Registers the volume's memory with
  // `device`, unless `device` is null.
  ChannelSlot* get(DeviceContext* device, const std::shared_ptr<storage::Volume>& volume);
  // Closes the channels that are no longer used.
  void prune();
  void visit(const StoreVisitor& each) const;
  void clear() { slots_.clear(); }
  bool empty() const { return slots_.empty(); }

 private:
  Reactor& reactor_;
  std::map<storage::Volume*, ChannelSlot> slots_;
};

}  // namespace mrpool::engine
