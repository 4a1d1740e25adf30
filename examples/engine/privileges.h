// How a daemon that root starts gives up privileges: at the start, the ability to gain privileges
// by executing files; once its sockets and stores are open, all privileges of root.
//
// Thread safety: give_up_gains: the main thread, before other threads exist. drop_to: one thread,
// while others run; it changes all threads.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mrpool::engine {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// `text` is "NAME" or "NAME:GROUP", or numbers. InvalidArgument: the account does not exist, it is
// root, or this process may not switch to it.
absl::StatusOr<Account> find_account(const std::string& text);

// From now on, neither set-user-ID files nor file capabilities give new privileges to this process,
// its threads and its children. The capability bounding set is empty.
absl::Status give_up_gains();

// Switches every thread to the account and its groups, and checks that no thread has a capability
// any more. Internal: a thread still has one.
absl::Status drop_to(const Account& account);

}  // namespace mrpool::engine
