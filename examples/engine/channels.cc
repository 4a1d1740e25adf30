#include "examples/engine/channels.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"

namespace mrpool::engine {

ChannelSlot* Channels::get(DeviceContext* device, const std::shared_ptr<storage::Volume>& volume) {
  auto at = slots_.find(volume.get());
  if (at == slots_.end()) {
    auto channel = volume->open_channel(reactor_);
    if (!channel.ok()) {
      base::log({.event = base::Event::kStoreUnavailable,
                 .store = volume->spec(),
                 .message = absl::StrCat(volume->spec(), ": ", channel.status().message())});
      return nullptr;
    }
    at = slots_.try_emplace(volume.get()).first;
    at->second.volume = volume;
    at->second.channel = std::move(*channel);
  }
  if (device != nullptr && !at->second.memory.contains(device)) {
    at->second.memory[device] = device->register_volume(*volume);
  }
  return &at->second;
}

void Channels::visit(const StoreVisitor& each) const {
  for (const auto& [volume, slot] : slots_) each(*slot.volume, *slot.channel);
}

void Channels::prune() {
  std::erase_if(slots_, [](const auto& entry) {
    const ChannelSlot& slot = entry.second;
    return slot.uses == 0 && slot.handles == 0 && slot.channel->pending() == 0;
  });
}

}  // namespace mrpool::engine
