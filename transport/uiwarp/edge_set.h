// Which sockets of a reactor became ready: an edge-triggered epoll set of its own, next to Asio's.
//
// A socket joins once. From then on a wait costs no system call: the set keeps what became ready
// since, and a wait that finds it so ends in the next round. (Asio calls epoll_ctl for each wait.)
// One epoll_wait returns what became ready on all sockets.
//
// The set is a poller of its reactor. It asks the kernel in each round while sockets that somebody
// waits for become ready, else in periods. While the reactor sleeps, Asio watches the set's
// descriptor. A reactor that stays awake takes the set back from Asio, because each edge of a set
// within a set costs its sender a second callback.
//
// Thread safety: the thread of its reactor.
// Ownership: the reactor's io_context owns the set. Members leave it before they end.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <optional>

#include "mrpool/reactor.h"
#include "transport/uiwarp/list.h"

namespace mrpool::uiwarp {

class EdgeSet final : public boost::asio::execution_context::service, private Poller {
 public:
  class Member {
   public:
    // The descriptor became ready: EPOLLIN and the like. True: somebody waited for it. The member
    // may be gone afterwards.
    virtual bool on_edge(uint32_t events) = 0;
    ListNode due_node;

   protected:
    ~Member() = default;
  };

  using key_type = EdgeSet;
  static boost::asio::execution_context::id id;
  explicit EdgeSet(boost::asio::execution_context& context) : service(context) {}
  ~EdgeSet() override;

  // The reactor's set, made when there is none. Requires a reactor with an io_context.
  static EdgeSet& of(Reactor& reactor);

  // Makes the set's descriptor, unless it has one. Returns 0 or an errno: the kernel is out of
  // memory or of descriptors. Who connects or listens calls it first and so can name the error.
  int open();
  // False: the kernel is out of memory, of descriptors or of watches.
  bool join(int fd, Member& member);
  void leave(int fd, Member& member);
  // on_edge(0) of a member follows from the loop.
  void make_due(Member& member) {
    wake();
    due_.push_back(member);
  }
  // A member moved bytes: the reactor is busy.
  void touch() { touched_ = true; }

 private:
  static constexpr int kEvents = 128;

  void shutdown() override;
  bool watch();
  void unwatch();
  void wake();
  bool poll() override;
  bool arm() override;
  bool time_to_ask();
  bool ask();

  Reactor* reactor_ = nullptr;
  int fd_ = -1;
  std::optional<boost::asio::posix::stream_descriptor> asio_;  // holds fd_ while Asio watches it
  size_t members_ = 0;
  List<Member, &Member::due_node> due_;
  std::array<epoll_event, kEvents> events_;
  int at_ = 0;     // of events_, the one that is handed over
  int count_ = 0;  // of events_
  Nanoseconds asked_{};
  bool touched_ = false;        // since the last round
  bool woken_ = false;          // Asio has seen the set become ready
  bool armed_ = false;          // the reactor sleeps, or is about to
  bool waiting_ = false;        // Asio waits for the set
  uint32_t busy_ = 0;           // not zero: somebody waited for what became ready lately
  uint32_t asks_ = 0;           // since the reactor was about to sleep
  Task wake_up_{[](Task&) {}};  // a round is all that is wanted of it
};

}  // namespace mrpool::uiwarp
