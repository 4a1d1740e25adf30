#include "examples/base/acting_user.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace mrpool::base {
namespace {

// The C library's setgroups() changes all threads; the system call changes the calling one.
bool set_groups(const std::vector<gid_t>& groups) {
#ifdef SYS_setgroups32
  constexpr long kCall = SYS_setgroups32;
#else
  constexpr long kCall = SYS_setgroups;
#endif
  return ::syscall(kCall, groups.size(), groups.data()) == 0;
}

std::vector<gid_t> current_groups() {
  std::vector<gid_t> groups(size_t(std::max(::getgroups(0, nullptr), 0)));
  const int n = ::getgroups(int(groups.size()), groups.data());
  groups.resize(size_t(std::max(n, 0)));
  return groups;
}

std::vector<gid_t> groups_of(const ActingUser& user) {
  std::vector<gid_t> groups(32);
  int n = int(groups.size());
  while (::getgrouplist(user.name.c_str(), user.gid, groups.data(), &n) < 0) {
    groups.resize(std::max(size_t(n), 2 * groups.size()));
    n = int(groups.size());
  }
  groups.resize(size_t(n));
  return groups;
}

}  // namespace

std::string ActingUser::called() const { return is_other() ? name : absl::StrCat("user ", uid); }

ActingUser ActingUser::self() { return {.uid = ::geteuid(), .gid = ::getegid()}; }

// A change of the file system user from root clears the thread's capabilities for files; the change
// back restores them (capabilities(7)).
ActAs::ActAs(const ActingUser& user) {
  if (!user.is_other()) return;
  groups_ = current_groups();
  if (!set_groups(groups_of(user))) {
    status_ = absl::PermissionDeniedError(
        absl::StrCat("this process may not act as ", user.name, "; start it as that user"));
    return;
  }
  changed_ = true;
  ::setfsgid(user.gid);
  ::setfsuid(user.uid);
}

ActAs::~ActAs() {
  if (!changed_) return;
  ::setfsuid(::geteuid());
  ::setfsgid(::getegid());
  if (!set_groups(groups_)) std::abort();  // it worked before
}

}  // namespace mrpool::base
