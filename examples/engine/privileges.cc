#include "examples/engine/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/core_dump.h"
#include "examples/storage/descriptor.h"

namespace mrpool::engine {
namespace {

absl::Status bad(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("--user: ", why));
}

absl::Status errno_status(const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("--user: ", what));
}

// The capability sets of a thread in /proc that are not empty; empty: there are none.
std::string capabilities_left(const std::string& status) {
  std::string left;
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    for (const absl::string_view name : {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"}) {
      uint64_t set = 0;
      if (line.substr(0, name.size()) != name) continue;
      if (!absl::SimpleHexAtoi(line.substr(name.size()), &set) || set != 0) {
        absl::StrAppend(&left, left.empty() ? "" : ", ", line);
      }
    }
  }
  return left;
}

absl::Status check_threads() {
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/self/task", error), end; !error && at != end;
       at.increment(error)) {
    const auto status = storage::read_text((at->path() / "status").string());
    if (absl::IsNotFound(status.status())) continue;  // a thread that has ended meanwhile
    if (!status.ok()) return status.status();
    if (const std::string left = capabilities_left(*status); !left.empty()) {
      return absl::InternalError(absl::StrCat("--user: a thread still has capabilities: ", left));
    }
  }
  if (::setuid(0) == 0) return absl::InternalError("--user: the process could become root again");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Account> find_account(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  const passwd* user = ::getpwnam(parts[0].c_str());
  uint32_t number = 0;
  if (user == nullptr && absl::SimpleAtoi(parts[0], &number)) user = ::getpwuid(number);
  if (user == nullptr) {
    return bad(absl::StrCat("there is no user '", parts[0],
                            "'; create it first (adduser --system), or choose another"));
  }
  Account account{.name = user->pw_name, .uid = user->pw_uid, .gid = user->pw_gid};
  if (parts.size() > 1) {
    const group* group = ::getgrnam(parts[1].c_str());
    if (group == nullptr && absl::SimpleAtoi(parts[1], &number)) group = ::getgrgid(number);
    if (group == nullptr) return bad(absl::StrCat("there is no group '", parts[1], "'"));
    account.gid = group->gr_gid;
  }
  if (account.uid == 0) return bad("root has all privileges; choose a user without any");
  if (::geteuid() != 0 && ::geteuid() != account.uid) {
    return bad(absl::StrCat("only root can become ", account.name, ", and this process runs as ",
                            ::geteuid(), "; leave --user out"));
  }
  return account;
}

absl::StatusOr<base::ActingUser> later_user(const std::string& user) {
  if (user.empty() || ::geteuid() != 0) return base::ActingUser::self();
  auto account = find_account(user);
  if (!account.ok()) return account.status();
  return base::ActingUser{.uid = account->uid, .gid = account->gid, .name = account->name};
}

absl::Status unwritable_state(const std::string& folder, const std::string& user) {
  return absl::InvalidArgumentError(
      absl::StrCat(folder, ": ", user, " cannot write there; chown it to ", user));
}

absl::Status give_up_gains() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_status("PR_SET_NO_NEW_PRIVS");
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    // EPERM: without CAP_SETPCAP the bounding set cannot be changed, but no capability can be
    // gained either.
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM) {
      return errno_status("PR_CAPBSET_DROP");
    }
  }
  return absl::OkStatus();
}

// glibc's calls change every thread of the process. A change from root to another user clears each
// thread's capabilities (capabilities(7)).
absl::Status drop_to(const Account& account) {
  if (::geteuid() != 0) return absl::OkStatus();
  if (::initgroups(account.name.c_str(), account.gid) != 0) return errno_status("initgroups");
  if (::setresgid(account.gid, account.gid, account.gid) != 0) return errno_status("setresgid");
  if (::setresuid(account.uid, account.uid, account.uid) != 0) return errno_status("setresuid");
  base::renew_core_dump();
  return check_threads();
}

}  // namespace mrpool::engine
