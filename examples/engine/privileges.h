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
#include "examples/base/acting_user.h"

namespace mrpool::engine {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// `text` is "NAME" or "NAME:GROUP", or numbers. InvalidArgument: the account does not exist, it is
// root, or this process may not switch to it.
absl::StatusOr<Account> find_account(const std::string& text);

// The user by whose permissions files count that are read again later: the account of `user`, as in
// find_account(), if this process is root's; otherwise, and without `user`, that of this process.
absl::StatusOr<base::ActingUser> later_user(const std::string& user);

// From now on, neither set-user-ID files nor file capabilities give new privileges to this process,
// its threads and its children. The capability bounding set is empty.
absl::Status give_up_gains();

// Switches every thread to the account and its groups, and checks that no thread has a capability
// any more. Internal: a thread still has one.
absl::Status drop_to(const Account& account);

// InvalidArgument: `user`, which the daemon becomes, cannot write to its state directory.
absl::Status unwritable_state(const std::string& folder, const std::string& user);

}  // namespace mrpool::engine
