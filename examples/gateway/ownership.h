// Who serves which ANA group: the decisions of one gateway of a group of gateways, without I/O.
//
// Each group has at most one owner at a time. The owner renews a lease in the cluster's records
// (records.h). When it does not, another gateway writes itself into the record, fences the client
// of the owner before, and serves. The fence makes this safe. The lease limits when an owner is
// disturbed, and ends what needs no access to the cluster (answers from memory).
//
//   state       meaning                                     may serve
//   kOut        not the owner, as far as this gateway knows    no
//   kTaking     the write that makes it the owner is sent      no
//   kFencing    owner; earlier clients are being fenced,       no
//               the client gets a map with all fences
//   kClearing   owner; the list of fences is being emptied     no
//   kPreparing  owner; images, sizes, reservations are read    no
//   kServing    owner                                          until the lease ends
//   kDraining   owner; what it has begun ends                  no
//   kReleasing  the write that makes nobody the owner is sent  no
//
// Use: call an input when something happened, and wake() when next_wake() has come. Then take the
// actions and start each one. The result of an action goes back with its id; results of actions
// that no longer matter are ignored. An action without a result needs no answer.
//
// Times are this gateway's own monotonic clock (CLOCK_BOOTTIME where there is one); no time of
// another gateway is compared with it. `now` is the time at which the input is given. It never
// goes back.
//
// Thread safety: one thread. For data paths in other threads publish serve_until() after each
// input. Ownership: a value; actions are the caller's.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/gateway/records.h"

namespace mrpool::gateway {

using Nanoseconds = std::chrono::nanoseconds;

struct Times {
  Nanoseconds renew = std::chrono::milliseconds(500);  // between two renewals
  Nanoseconds poll = std::chrono::milliseconds(500);   // between two reads of all records
  Nanoseconds lease = std::chrono::seconds(2);         // from the sending of a renewal
  // An owner whose record has not changed for so long has stopped, even if its clock is slower than
  // this one by a fifth.
  Nanoseconds patience() const { return lease + lease / 4; }
  // A gateway counts for the distribution of groups after it was seen for so long.
  Nanoseconds settle = std::chrono::seconds(2);
  // A group that another gateway serves moves to it after it was seen for so long: until then its
  // hosts have connected to it again (Linux tries every 10 s).
  Nanoseconds rejoin = std::chrono::seconds(15);
  Nanoseconds retry = std::chrono::milliseconds(250);  // before a failed action is repeated
  // An owner that does not serve within this time after it took a group gives it back, and is unfit
  // for `unfit`: others go first. So is a gateway that gets no client.
  Nanoseconds takeover_limit = std::chrono::seconds(8);
  Nanoseconds unfit = std::chrono::seconds(30);
  // What has not ended then is fenced.
  Nanoseconds drain_limit = std::chrono::seconds(5);
};

enum class State : uint8_t {
  kOut,
  kTaking,
  kFencing,
  kClearing,
  kPreparing,
  kServing,
  kDraining,
  kReleasing,
};
std::string_view to_string(State state);

struct Action {
  enum class Kind : uint8_t {
    kRead,     // Cluster::read -> read_done
    kWrite,    // Cluster::write(write) -> write_done
    kConnect,  // Cluster::connect(group) -> connected
    kFence,    // Cluster::fence(group, clients), clients may be empty -> fence_done
    // Read what a server of the group needs, by the client of the group: open the images (again, if
    // the client is new), their sizes, and the reservations. They must be read now: what an earlier
    // read showed may have changed before this gateway became the owner. -> prepared
    kPrepare,
    kServe,  // the group is optimized from now on (no result)
    // Begin no command. When every request to the store has ended, also those of aborted
    // commands -> drained
    kDrain,
    // At once: begin no command, end the begun ones with an error that makes hosts try another path
    // (no result). What is under way in the store may still happen: a kConnect follows, and the
    // client of before is fenced before anybody serves again.
    kStop,
  };
  Kind kind = Kind::kRead;
  uint64_t id = 0;
  std::string group{};                 // all but kRead; of kWrite it may be empty
  GuardedWrite write{};                // kWrite
  std::vector<std::string> clients{};  // kFence
};

class Ownership {
 public:
  // `name`: of this gateway, unique in its group. `groups`: the same at every gateway. All are
  // valid names (records.h).
  Ownership(std::string name, std::vector<std::string> groups, const Times& times, Nanoseconds now);
  ~Ownership();
  Ownership(const Ownership&) = delete;
  Ownership& operator=(const Ownership&) = delete;

  // Inputs.
  void wake(Nanoseconds now);
  void read_done(Nanoseconds now, uint64_t id, const std::optional<Records>& records);
  void write_done(Nanoseconds now, uint64_t id, Written result);
  void connected(Nanoseconds now, uint64_t id, std::string client);  // empty: failed
  void fence_done(Nanoseconds now, uint64_t id, bool done);
  void prepared(Nanoseconds now, uint64_t id, bool done);
  // `clean`: the store has answered every request. False when one ended without an answer (by a
  // time-out): then the client is fenced, because that request may still happen.
  void drained(Nanoseconds now, uint64_t id, bool clean);
  // The store refused a request of the group's client because it is fenced. Or a guarded save (see
  // guard()) was refused or got no answer: what is kept may then differ from what is in memory.
  void fenced(Nanoseconds now, std::string_view group);
  // Gives everything back; left() when done. It cannot be undone.
  void leave(Nanoseconds now);

  // Outputs.
  std::vector<Action> take_actions();
  Nanoseconds next_wake() const;  // call wake() then, even if nothing happens

  // Whether a command may begin now. Check it before the command does anything.
  bool may_serve(std::string_view group, Nanoseconds now) const { return now < serve_until(group); }
  // Commands may begin before this time; zero: not at all.
  Nanoseconds serve_until(std::string_view group) const;
  // The guard for what an owner saves (reservations): add it to the guards of the write. The save
  // is then refused when another gateway has become the owner. Nothing while this gateway is not
  // it.
  std::optional<Entry> guard(std::string_view group) const;

  State state(std::string_view group) const;
  uint64_t term(std::string_view group) const;
  // The owner according to the records, empty: nobody, or not known.
  std::string_view owner(std::string_view group) const;
  // Why the group cannot be taken: a record that this version does not know, or an older process of
  // the same name. Empty: nothing wrong.
  std::string problem(std::string_view group) const;
  // The other gateways that run, sorted.
  std::vector<std::string> members() const;
  bool left() const;

 private:
  struct Group;
  struct Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace mrpool::gateway
