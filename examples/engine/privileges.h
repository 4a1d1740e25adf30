// What a daemon that root starts gives up: rights that no program it runs could get back from the
// start on, and all rights of root once its sockets and stores are open.
//
// Thread safety: give_up_gains: the main thread, before any other is made; drop_to: one thread,
// while others run: the change is every thread's.
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

// "NAME" or "NAME:GROUP", or numbers. InvalidArgument: there is none, it is root, or this process
// may not become it.
absl::StatusOr<Account> find_account(const std::string& text);

// Neither set-user-ID files nor file capabilities give this process, its threads and its children
// rights that it does not have, and the bounding set is empty.
absl::Status give_up_gains();

// Becomes the account, with its groups, in every thread, and checks that no capability is left in
// any. Internal: some is.
absl::Status drop_to(const Account& account);

}  // namespace mrpool::engine
