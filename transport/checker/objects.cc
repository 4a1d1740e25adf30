// Checker: objects and regions from their creation to their end.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/checker/checker.h"

namespace mrpool::checker {
namespace {

// A right that peers can be given.
struct Right {
  unsigned flag;
  const char* name;
  const char* operation;
};
constexpr Right kRemoteRights[] = {
    {IBV_ACCESS_REMOTE_WRITE, "IBV_ACCESS_REMOTE_WRITE", "RDMA WRITE"},
    {IBV_ACCESS_REMOTE_READ, "IBV_ACCESS_REMOTE_READ", "RDMA READ"},
    {IBV_ACCESS_REMOTE_ATOMIC, "IBV_ACCESS_REMOTE_ATOMIC", "atomic"},
};

const char* operation_of(unsigned flag) {
  for (const Right& right : kRemoteRights) {
    if (right.flag == flag) return right.operation;
  }
  return "access";
}

bool admits(const Region& region, const PeerAccess& access) {
  const bool zero_based = (region.access & IBV_ACCESS_ZERO_BASED) != 0;
  const uint64_t offset = access.address - (zero_based ? 0 : region.start);  // wraps below it
  return (region.access & access.right) != 0 && offset <= region.length &&
         access.bytes <= region.length - offset;
}

}  // namespace

void Checker::made(const char* type, const void* object) {
  const Stack here = Stack::capture();
  const std::lock_guard lock(mutex_);
  objects_[object] = {type, here};
}

void Checker::ended(const void* object) {
  const std::lock_guard lock(mutex_);
  objects_.erase(object);
}

void Checker::region_made(const ibv_mr& mr, unsigned access) {
  const Stack here = Stack::capture();
  const std::lock_guard lock(mutex_);
  objects_[&mr] = {"MR", here};
  regions_.add(mr, access, here);
  if (watch_ != nullptr) watch_->add(watch::range_of(mr.addr, mr.length));
}

void Checker::region_ended(const ibv_mr& mr) {
  const Stack here = Stack::capture();
  const std::lock_guard lock(mutex_);
  objects_.erase(&mr);
  if (watch_ != nullptr) watch_->remove(watch::range_of(mr.addr, mr.length));
  const std::optional<Region> region = regions_.remove(mr.lkey, here);
  if (!region.has_value()) return;
  report_use_of(*region);
  report_unused_rights(*region);
}

void Checker::memory_lost(const watch::Loss& loss) {
  const Stack here = Stack::capture_from(reinterpret_cast<uintptr_t>(loss.call.caller));
  const std::lock_guard lock(mutex_);
  if (finished_ || forked_) return;
  regions_.for_each([&](const Region& region) {
    if (!watch::concerns(loss, {region.start, region.end()})) return;
    report_.add({.kind = Kind::kMemoryFreed,
                 .text = absl::StrFormat(
                     "%s() takes %u bytes at 0x%x away, where %s is still registered: the device "
                     "and peers may use them until ibv_dereg_mr; deregister it first",
                     loss.call.name, loss.memory.end - loss.memory.begin, loss.memory.begin,
                     to_string(region)),
                 .where = here,
                 .origins = {{"registered here", region.made}}});
  });
}

std::vector<Origin> Checker::registered(uint32_t lkey) {
  const std::lock_guard lock(mutex_);
  const Region* const region = regions_.find_local(lkey);
  if (region == nullptr) return {};
  return {{"registered here", region->made}};
}

void Checker::window_bound(Window window) {
  window.bound = Stack::capture();
  const std::lock_guard lock(mutex_);
  regions_.bind(window);
}

void Checker::peer_accessed(const PeerAccess& access) {
  const std::lock_guard lock(mutex_);
  access.admitted ? note_access(access) : report_refusal(access);
}

void Checker::note_access(const PeerAccess& access) {
  Region* region = regions_.find_remote(access.rkey);
  uintptr_t start = 0;
  if (region != nullptr) {
    region->used |= access.right;
    start = region->memory_at(access.address);
  } else if (const Window* window = regions_.find_window(access.rkey)) {
    region = regions_.find_local(window->lkey);
    start = window->memory_at(access.address);
  } else {
    return;  // a key of the provider's own
  }
  if (access.right == IBV_ACCESS_REMOTE_READ) return;
  if (region != nullptr) region->written = true;
  written_by_device({{.start = start, .length = access.bytes}}, nullptr);
}

void Checker::report_refusal(const PeerAccess& access) {
  const Region* const region = regions_.find_remote(access.rkey);
  const Region* const ended = regions_.find_ended(access.rkey);
  const Region* const known = region != nullptr ? region : ended;
  const Window* const window = regions_.find_window(access.rkey);
  std::string text =
      absl::StrFormat("a peer's %s of %u bytes at 0x%x names rkey 0x%x, ",
                      operation_of(access.right), access.bytes, access.address, access.rkey);
  std::vector<Origin> origins;
  if (region != nullptr) {
    absl::StrAppend(&text,
                    admits(*region, access) ? "which admits it, but qp_access_flags do not: "
                                            : "which does not admit it: ",
                    to_string(*region));
  } else if (ended != nullptr) {
    absl::StrAppend(&text,
                    "which ended before the peer's access came; notify the peer "
                    "first, and wait until its work has completed");
  } else if (window != nullptr) {
    const Region* const whole = regions_.find_local(window->lkey);
    absl::StrAppend(&text, "which a memory window of ",
                    whole != nullptr ? to_string(*whole) : "a region that ended",
                    " has, or had, and which does not admit it");
    origins.push_back({"bound here", window->bound});
  } else {
    absl::StrAppend(&text, "which no region has");
  }
  if (known != nullptr) origins.push_back({"registered here", known->made});
  if (known != nullptr && !known->ended.empty())
    origins.push_back({"deregistered here", known->ended});
  report_.add({.kind = Kind::kRemoteBadKey, .text = text, .where = {}, .origins = origins});
}

void Checker::report_unused_rights(const Region& region) {
  for (const Right& right : kRemoteRights) {
    if ((region.access & right.flag) == 0 || (region.used & right.flag) != 0) continue;
    report_.add({.kind = Kind::kUnusedRight,
                 .text = absl::StrCat(right.name, " was asked for ", to_string(region),
                                      ", but no peer ever did an ", right.operation, " there"),
                 .where = region.made,
                 .origins = {},
                 .aspect = right.name});
  }
}

void Checker::report_leaks() {
  for (const auto& [object, about] : objects_) {
    report_.add({.kind = Kind::kLeaked,
                 .text = absl::StrCat("the program ended without destroying this ", about.type),
                 .where = about.made,
                 .origins = {}});
  }
}

}  // namespace mrpool::checker
