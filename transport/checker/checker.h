// mrpool-run --check: the checker receives the program's calls from the provider and compares them
// with the rules of verbs.
//
//   provider's calls ─▶ Checker ─▶ Report ─▶ standard error, JSON lines, exit status
//
// Checker::get() is null unless the program runs under --check, so the provider pays one branch at
// each place that notifies the checker:
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
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "mrpool/work.h"
#include "transport/checker/regions.h"
#include "transport/checker/report.h"
#include "transport/checker/watch/memory_watch.h"
#include "transport/checker/work.h"

namespace mrpool::checker {

// What a peer reached, or tried to, through a key.
struct PeerAccess {
  uint32_t rkey;
  uint64_t address;
  uint64_t bytes;
  unsigned right;  // of user verbs, that it needs
  bool admitted;
};

// A request that the program posts.
struct PostedWork {
  Operation operation;
  uint64_t wr_id;
  uint32_t qp_num;  // 0: a receive of an SRQ
  bool signalled;
  std::span<const ibv_sge> sges;  // as the program named them; none of inline data
  std::span<const Sge> memory;    // the bytes they stand for, one for one
};

class Checker {
 public:
  // Null: the checker is off.
  static Checker* get() { return instance_; }
  // Enables the checker when the environment asks for it (options.h), once a process. Fails when
  // the environment asks for what cannot be done.
  static absl::Status start();

  Report& report() { return report_; }
  uint64_t seed() const { return seed_; }

  // Objects, by the structure that the program holds; `type` is a word for people.
  void made(const char* type, const void* object);
  void ended(const void* object);
  void region_made(const ibv_mr& mr, unsigned access);
  void region_ended(const ibv_mr& mr);
  // The program binds a window; the stack is the caller's.
  void window_bound(Window window);
  // The program frees or unmaps memory that a region is in.
  void memory_lost(const watch::Loss& loss);

  // Where the region was made, if it is known; for findings of others.
  std::vector<Origin> registered(uint32_t lkey);

  void peer_accessed(const PeerAccess& access);

  // Work. A receive is known by its completion.
  void qp_made(const ibv_qp& qp);
  // It is disconnected, or in error.
  void qp_closing(uint32_t qp_num);
  // Its work is dropped, as by ibv_modify_qp to RESET.
  void qp_reset(uint32_t qp_num);
  void qp_ended(const ibv_qp& qp);
  void posted_send(const PostedWork& work);
  // The send queue is full.
  void send_refused(uint32_t qp_num);
  void posted_receive(const PostedWork& work, const void* receive);
  // The device has done the oldest send; `entered`: the CQ got an entry.
  void retired_send(uint32_t qp_num, bool entered);
  // `bytes` arrived in it.
  void retired_receive(uint32_t qp_num, const void* receive, size_t bytes);
  // The first byte for that receive, or for the oldest READ of that QP, is about to be written.
  void receive_begins(const void* receive);
  void response_begins(uint32_t qp_num);

  // CQs, by the structure that the program holds.
  void cq_pushed(const void* cq, size_t depth, size_t entries, bool success);
  void cq_polled(const void* cq, std::span<const ibv_wc> wcs);
  void cq_ended(const void* cq);

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
  // What the device let a peer do, and what it refused.
  void note_access(const PeerAccess& access);
  void report_refusal(const PeerAccess& access);
  void report_unused_rights(const Region& region);
  void report_never_polled(const void* cq);
  void report_use_of(const Region& region);
  void report_change(Kind kind, const Request& request, size_t offset, const char* rule,
                     const Stack& where);
  // The posts' checks.
  std::unique_ptr<Request> make_request(const PostedWork& work);
  void check_keys(const Request& request);
  void check_overlap(Request& request);
  void check_wr_id(WorkQueue& queue, const Request& request);
  void check_begin(Request& request, Kind kind);
  // What is compared of others that own these bytes: nothing any more.
  void written_by_device(const std::vector<Piece>& pieces, const Request* by);
  void polled_send(WorkQueue& queue, const ibv_wc& wc);
  void polled_receive(WorkQueue& queue, const ibv_wc& wc);
  void check_source(Request& request, const Stack& where);
  void report_leaks();

  static Checker* instance_;

  const uint64_t seed_;
  Report report_;
  std::mutex mutex_;
  bool forked_ = false;
  bool finished_ = false;
  watch::Watch* watch_ = nullptr;  // null: nobody watches the program's calls
  std::map<const void*, Object> objects_;
  Regions regions_;
  Work work_;
  struct CqUse {
    uint64_t pushed = 0;
    bool polled = false;
    bool overrun = false;
  };
  std::map<const void*, CqUse> cqs_;
};

}  // namespace mrpool::checker
