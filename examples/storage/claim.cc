#include "examples/storage/claim.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/storage/users.h"

namespace mrpool::storage {
namespace {

// The claims of this process. The kernel's exclusive opening is per process too, so one list is
// what there is to mirror. An entry stays until its store is free: longer than its claim can be
// had.
class Claims {
 public:
  struct Entry {
    StoreIdentity identity;
    std::string spec;
    bool read_only;
    std::weak_ptr<const Claim> claim{};
    const Claim* address = nullptr;
    bool ends = false;
  };

  // What this process has already of the store; null: nothing. Waits for volumes that end.
  absl::StatusOr<std::shared_ptr<const Claim>> make_way(const ClaimRequest& request);
  std::shared_ptr<const Claim> add(std::unique_ptr<Claim> claim);
  void announce_end(const Claim& claim);

  std::mutex taking;  // of one claim after the other, which may block; before `mutex_`

 private:
  const Entry* in_the_way(const ClaimRequest& request) const;
  void remove(std::list<Entry>::iterator entry);

  std::mutex mutex_;  // held for moments: volumes end on reactors too
  std::condition_variable gone_;
  std::list<Entry> entries_;
};
// Never destroyed: volumes may end after main().
Claims& all() {
  static Claims& claims = *new Claims;
  return claims;
}

const Claims::Entry* Claims::in_the_way(const ClaimRequest& request) const {
  if (request.takes_over) return nullptr;
  const auto found = std::ranges::find_if(entries_, [&request](const Entry& entry) {
    const bool both_read = entry.read_only && request.read_only;
    const bool ends = entry.ends || entry.claim.expired();
    return entry.identity == request.identity && (!both_read || ends);
  });
  return found == entries_.end() ? nullptr : &*found;
}

absl::StatusOr<std::shared_ptr<const Claim>> Claims::make_way(const ClaimRequest& request) {
  std::vector<std::shared_ptr<const Claim>> there;  // let go of after the lock: one may be the last
  std::unique_lock lock(mutex_);
  const auto deadline = std::chrono::steady_clock::now() + kLeavingPatience;
  bool late = false;
  while (const Entry* entry = in_the_way(request)) {
    if (!request.others_leave && !entry->ends && !entry->claim.expired()) {
      return absl::FailedPreconditionError(
          absl::StrCat(request.spec, ": this process serves the same store already as ",
                       entry->spec, "; serve it once, or both times with \",ro\""));
    }
    if (late) {
      return absl::FailedPreconditionError(
          absl::StrCat(request.spec, ": the store was served as ", entry->spec,
                       " until now and is still in use ", kLeavingPatience.count(),
                       " s later, by outstanding commands or for write-back; check the device, and "
                       "try again once "
                       "it answers"));
    }
    late = gone_.wait_until(lock, deadline) == std::cv_status::timeout;
  }
  for (const Entry& entry : entries_) {
    if (entry.identity != request.identity) continue;
    if (auto claim = entry.claim.lock(); claim != nullptr) there.push_back(std::move(claim));
  }
  // The last one: it is the strongest.
  return there.empty() ? nullptr : there.back();
}

std::shared_ptr<const Claim> Claims::add(std::unique_ptr<Claim> claim) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.insert(
      entries_.end(),
      {.identity = claim->identity, .spec = claim->spec, .read_only = claim->read_only});
  const auto end = [this, entry](const Claim* ended) {
    delete ended;
    remove(entry);
  };
  const std::shared_ptr<const Claim> shared(claim.release(), end);
  entry->claim = shared;
  entry->address = shared.get();
  return shared;
}

void Claims::announce_end(const Claim& claim) {
  const std::lock_guard lock(mutex_);
  const auto entry = std::ranges::find(entries_, &claim, &Entry::address);
  if (entry != entries_.end()) entry->ends = true;
}

void Claims::remove(std::list<Entry>::iterator entry) {
  {
    const std::lock_guard lock(mutex_);
    entries_.erase(entry);
  }
  gone_.notify_all();
}

absl::StatusOr<std::shared_ptr<const Hold>> open_exclusively(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (fd.get() >= 0) {
    return std::make_shared<const Hold>(std::make_shared<const Descriptor>(std::move(fd)), false);
  }
  if (errno != EBUSY) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be opened"));
  return absl::FailedPreconditionError(absl::StrCat(path, " ", users_of_device(path)));
}

// True: locked. A lock of a process that was killed lasts until the kernel has finished what it had
// under way in io_uring, some time after the process is gone.
bool try_lock(int fd, bool read_only) {
  struct flock lock {};
  lock.l_type = read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// From a volume that only reads to one that writes: its shared lock has to go first, and comes back
// when it cannot be made exclusive.
absl::StatusOr<std::shared_ptr<const Hold>> upgrade(const std::shared_ptr<const Hold>& before,
                                                    const ClaimRequest& request) {
  unlock_file(before->fd->get());
  absl::Status status = lock_file(request.file->get(), request.path, false);
  if (status.ok()) return std::make_shared<const Hold>(request.file, true, before);
  if (absl::Status back = lock_file(before->fd->get(), request.path, true); !back.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(status.message(), "; its readers lost their lock: ", back.message()));
  }
  return status;
}

// `before` is what this process has already; null: nothing.
absl::StatusOr<std::shared_ptr<const Hold>> hold(const ClaimRequest& request,
                                                 const std::shared_ptr<const Claim>& before) {
  if (before != nullptr) {
    const bool strong = !before->read_only && !before->shared;
    const bool enough = before->hold == nullptr || !before->hold->locked || strong ||
                        request.read_only || request.shared;
    return enough ? absl::StatusOr<std::shared_ptr<const Hold>>(before->hold)
                  : upgrade(before->hold, request);
  }
  if (request.identity.kind() == StoreIdentity::Kind::kBlockDevice) {
    if (request.shared) return std::shared_ptr<const Hold>();
    return open_exclusively(request.path);
  }
  if (request.file == nullptr) return std::shared_ptr<const Hold>();
  absl::Status status =
      lock_file(request.file->get(), request.path, request.read_only || request.shared);
  if (!status.ok()) return status;
  return std::make_shared<const Hold>(request.file, true);
}

}  // namespace

// The kernel may keep an open file for a moment longer, for io_uring; the lock is not to wait for
// that.
Hold::~Hold() {
  if (!locked) return;
  // A reader of the file gets its lock back, and there is a lock at every moment.
  if (before != nullptr && before.use_count() > 1 && try_lock(fd->get(), true)) {
    (void)try_lock(before->fd->get(), true);
  }
  unlock_file(fd->get());
}

absl::StatusOr<std::shared_ptr<const Claim>> take_claim(const ClaimRequest& request) {
  Claims& claims = all();
  const std::lock_guard one_at_a_time(claims.taking);
  absl::StatusOr<std::shared_ptr<const Claim>> before = claims.make_way(request);
  if (!before.ok()) return before.status();
  auto held = hold(request, *before);
  if (!held.ok()) return held.status();
  // What still has the lock of a writer counts as one.
  const bool reads = request.read_only && (*before == nullptr || (*before)->read_only);
  return claims.add(std::unique_ptr<Claim>(
      new Claim{.identity = request.identity,
                .spec = request.spec,
                .read_only = reads,
                .shared = request.shared && (*before == nullptr || (*before)->shared),
                .hold = *std::move(held)}));
}

void announce_end(const Claim& claim) { all().announce_end(claim); }

absl::Status lock_file(int fd, const std::string& path, bool read_only, std::string_view fix) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  constexpr int kTries = 100;
  for (int i = 0; !try_lock(fd, read_only); ++i) {
    const int error = errno;
    if (error != EAGAIN && error != EACCES && error != EINTR) {
      return absl::ErrnoToStatus(
          error, absl::StrCat(path, ": cannot be locked, so that others could write to it"));
    }
    const long pid = process_that_locks(fd);
    if (pid != 0 || i == kTries) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " is in use by ", pid != 0 ? absl::StrCat("process ", pid) : "another program",
          read_only ? ", which writes to it" : "; ", read_only ? "" : std::string(fix)));
    }
    // Nobody alive has it: the kernel is about to let go of it.
    std::this_thread::sleep_for(kPause);
  }
  return absl::OkStatus();
}

void unlock_file(int fd) {
  struct flock lock {};
  lock.l_type = F_UNLCK;
  lock.l_whence = SEEK_SET;
  ::fcntl(fd, F_OFD_SETLK, &lock);
}

}  // namespace mrpool::storage
