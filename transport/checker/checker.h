// mrpool-run --check: what the provider tells about the program's calls, and the rules of verbs
// that they are held against.
//
//   provider's calls ─▶ Checker ─▶ Report ─▶ standard error, JSON lines, exit status
//
// Checker::get() is null unless the program runs under --check, so that the provider pays one
// branch for each place that tells something:
//
//   if (Checker* checker = Checker::get()) [[unlikely]] checker->region_made(mr, access);
//
// Kinds of findings: kind.h. Another guard of memory adds what it finds with report().add().
//
// Thread safety: any thread; one lock of its own, taken inside the engine's.
// Ownership: lives until the process ends.
#pragma once

#include <infiniband/verbs.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "transport/checker/regions.h"
#include "transport/checker/report.h"

namespace mrpool::checker {

// What a peer reached, or tried to, through a key.
struct PeerAccess {
  uint32_t rkey;
  uint64_t address;
  uint64_t bytes;
  unsigned right;  // of user verbs, that it needs
  bool admitted;
};

class Checker {
 public:
  // Null: the checker is off.
  static Checker* get() { return instance_; }
  // Switches it on when the environment says so (options.h), once a process. An error: what the
  // environment says cannot be done.
  static absl::Status start();

  Report& report() { return report_; }
  uint64_t seed() const { return seed_; }

  // Objects, by the structure that the program holds; `type` is a word for people.
  void made(const char* type, const void* object);
  void ended(const void* object);
  void region_made(const ibv_mr& mr, unsigned access);
  void region_ended(const ibv_mr& mr);

  // Where the region was made, if it is known; for findings of others.
  std::vector<Origin> registered(uint32_t lkey);

  // The program gives memory back: free, munmap.
  void memory_freed(const void* start, size_t bytes, const char* call);

  void peer_accessed(const PeerAccess& access);

  // The process ends with `status`; the status that it is to end with instead.
  int finish(int status);
  // In a forked child: the parent's objects are not the child's.
  void forget();

 private:
  struct Object {
    const char* type;
    Stack made;
  };

  Checker(uint64_t seed, ReportOptions options) : seed_(seed), report_(std::move(options)) {}
  void report_unused_rights(const Region& region);
  void report_leaks();

  static Checker* instance_;

  const uint64_t seed_;
  Report report_;
  std::mutex mutex_;
  bool forked_ = false;
  std::map<const void*, Object> objects_;
  Regions regions_;
};

}  // namespace mrpool::checker
