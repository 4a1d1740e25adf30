#include "transport/checker/regions.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace mrpool::checker {

std::string to_string(const Region& region) {
  return absl::StrFormat("MR lkey 0x%x (%u bytes at 0x%x)", region.lkey, region.length,
                         region.start);
}

void Regions::add(const ibv_mr& mr, unsigned access, const Stack& made) {
  live_[mr.lkey] = {.lkey = mr.lkey,
                    .rkey = mr.rkey,
                    .start = reinterpret_cast<uintptr_t>(mr.addr),
                    .length = mr.length,
                    .access = access,
                    .made = made,
                    .ended = {}};
  by_rkey_[mr.rkey] = mr.lkey;
}

std::optional<Region> Regions::remove(uint32_t lkey, const Stack& ended) {
  const auto found = live_.find(lkey);
  if (found == live_.end()) return std::nullopt;
  Region region = found->second;
  live_.erase(found);
  by_rkey_.erase(region.rkey);
  region.ended = ended;
  ended_.push_back(region);
  if (ended_.size() > kRemembered) ended_.pop_front();
  return region;
}

Region* Regions::find_local(uint32_t lkey) {
  const auto found = live_.find(lkey);
  return found == live_.end() ? nullptr : &found->second;
}

Region* Regions::find_remote(uint32_t rkey) {
  const auto found = by_rkey_.find(rkey);
  return found == by_rkey_.end() ? nullptr : find_local(found->second);
}

const Region* Regions::find_ended(uint32_t key) const {
  const auto found = std::find_if(ended_.rbegin(), ended_.rend(), [&](const Region& region) {
    return region.lkey == key || region.rkey == key;
  });
  return found == ended_.rend() ? nullptr : &*found;
}

void Regions::bind(const Window& window) {
  if (windows_.insert_or_assign(window.rkey, window).second) bound_.push_back(window.rkey);
  if (bound_.size() <= kRemembered) return;
  windows_.erase(bound_.front());
  bound_.pop_front();
}

const Window* Regions::find_window(uint32_t rkey) const {
  const auto found = windows_.find(rkey);
  return found == windows_.end() ? nullptr : &found->second;
}

void Regions::clear() {
  windows_.clear();
  bound_.clear();
  live_.clear();
  by_rkey_.clear();
  ended_.clear();
}

}  // namespace mrpool::checker
