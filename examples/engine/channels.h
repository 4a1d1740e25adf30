// A worker's ways to volumes: one channel to each, shared by the worker's links.
//
// Thread safety: the worker's thread. Ownership: the worker's; a channel stays for as long as a
// link knows it, a command uses it, or a request is pending in it.
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

// A volume as this worker reaches it. `uses` counts commands, `handles` links that know it.
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

  // Opens the channel when it is the first use; null when that fails. The volume's memory is
  // registered with `device`, where there is one.
  ChannelSlot* get(DeviceContext* device, const std::shared_ptr<storage::Volume>& volume);
  // Closes those that nobody uses any more.
  void prune();
  void visit(const StoreVisitor& each) const;
  void clear() { slots_.clear(); }
  bool empty() const { return slots_.empty(); }

 private:
  Reactor& reactor_;
  std::map<storage::Volume*, ChannelSlot> slots_;
};

}  // namespace mrpool::engine
