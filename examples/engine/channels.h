// What the queues of a worker share: ways to volumes, and devices as the worker reaches them.
//
// Thread safety: the worker's thread. Ownership: the worker's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "examples/engine/device_context.h"
#include "examples/storage/storage.h"
#include "mrpool/mr.h"
#include "mrpool/qp.h"

namespace mrpool::nvmf_target {

// A volume as this worker reaches it. `uses` counts commands, `handles` queues that know it.
struct ChannelSlot {
  std::shared_ptr<storage::Volume> volume;
  std::unique_ptr<storage::Channel> channel;
  std::map<DeviceContext*, std::shared_ptr<Mr>> memory;
  uint32_t uses = 0;
  uint32_t handles = 0;
};

// A device as this worker reaches it.
struct WorkerDevice {
  DeviceContext* context = nullptr;
  std::unique_ptr<Mr> staging;
  // Completion queues are never resized: another one is made when these are full.
  struct CompletionQueue {
    std::unique_ptr<Cq> cq;
    uint32_t depth = 0;
    uint32_t used = 0;
  };
  std::vector<std::unique_ptr<CompletionQueue>> cqs;
};

}  // namespace mrpool::nvmf_target
