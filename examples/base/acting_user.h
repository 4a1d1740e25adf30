// The user whose permissions count for a file: of this process, or of the user that it will become.
//
// Thread safety: any thread; a guard changes the calling thread only. Ownership: values.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::base {

struct ActingUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name{};  // empty: the user of this process

  bool is_other() const { return !name.empty(); }
  // For messages.
  std::string called() const;

  // The effective user of this process.
  static ActingUser self();
};

// While it lives, the kernel checks the calling thread's access to files as if it had this user and
// this user's groups. Without effect for the user of this process.
class ActAs {
 public:
  explicit ActAs(const ActingUser& user);
  ~ActAs();
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

  // PermissionDenied: this process may not act as the user.
  const absl::Status& status() const { return status_; }

 private:
  bool changed_ = false;
  std::vector<gid_t> groups_;  // of the thread before
  absl::Status status_;
};

}  // namespace mrpool::base
