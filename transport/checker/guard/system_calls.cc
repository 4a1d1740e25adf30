// The program's calls that hand buffers to the kernel: the pages of a buffer are open meanwhile,
// and guarded bytes that the kernel used are a touch.
//
// Their names with _chk are those of programs that are built with _FORTIFY_SOURCE.
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <span>

#include "transport/checker/guard/next.h"
#include "transport/checker/guard/page_guard.h"

namespace mrpool::guard {
namespace {

enum class Kernel : bool { kReads, kWrites };  // what it does with the buffer

// Memory that describes the buffers (iovec, msghdr). The kernel reads it, too.
class Arguments {
 public:
  Arguments() = default;
  void add(const void* start, size_t bytes) {
    if (start != nullptr && bytes > 0) pieces_[count_++] = {const_cast<void*>(start), bytes};
  }
  std::span<const iovec> pieces() const { return {pieces_.data(), count_}; }

 private:
  std::array<iovec, 4> pieces_{};
  size_t count_ = 0;
};

// `call` returns how many bytes were used, or less than 0. Inlined: the caller is the program.
template <typename Call>
[[gnu::always_inline]] inline auto with_open(std::span<const iovec> pieces, Kernel kernel,
                                             Call&& call, const Arguments& arguments = {}) {
  PageGuard& guard = PageGuard::get();
  // First: the pieces may lie there.
  const bool opened_arguments = guard.open_for_call(arguments.pieces());
  const bool opened = guard.open_for_call(pieces);
  if (!opened && !opened_arguments) return call();
  const auto used = call();
  const int error = errno;
  const void* const caller = __builtin_return_address(0);
  if (opened) {
    guard.close_after_call(pieces, static_cast<ssize_t>(used), kernel == Kernel::kWrites, caller);
  }
  if (opened_arguments) guard.close_after_call(arguments.pieces(), SSIZE_MAX, false, caller);
  errno = error;
  return used;
}

template <typename Call>
[[gnu::always_inline]] inline ssize_t with_open(const void* buffer, size_t bytes, Kernel kernel,
                                                Call&& call) {
  const iovec piece{const_cast<void*>(buffer), bytes};
  return with_open({&piece, 1}, kernel, call);
}

// Counts come from programs: what the kernel refuses is not looked at.
std::span<const iovec> pieces_of(const iovec* pieces, int count) {
  if (pieces == nullptr || count <= 0 || count > IOV_MAX) return {};
  return {pieces, static_cast<size_t>(count)};
}
std::span<const iovec> pieces_of(const msghdr* message) {
  if (message == nullptr) return {};
  return pieces_of(message->msg_iov, static_cast<int>(message->msg_iovlen));
}
Arguments arguments_of(std::span<const iovec> pieces) {
  Arguments out;
  out.add(pieces.data(), pieces.size_bytes());
  return out;
}
Arguments arguments_of(const msghdr* message) {
  Arguments out;
  if (message == nullptr) return out;
  out.add(message, sizeof *message);
  out.add(message->msg_iov, pieces_of(message).size_bytes());
  out.add(message->msg_name, message->msg_namelen);
  out.add(message->msg_control, message->msg_controllen);
  return out;
}

// Items that a stream reads or writes, by a function that counts them.
template <typename Call>
[[gnu::always_inline]] inline size_t items(const void* buffer, size_t size, size_t count,
                                           Kernel kernel, Call&& call) {
  if (size == 0 || count == 0) return call();
  const ssize_t used =
      with_open(buffer, size * count, kernel, [&] { return static_cast<ssize_t>(call() * size); });
  return static_cast<size_t>(used) / size;
}

}  // namespace
}  // namespace mrpool::guard

using mrpool::guard::arguments_of;
using mrpool::guard::items;
using mrpool::guard::Kernel;
using mrpool::guard::next;
using mrpool::guard::pieces_of;
using mrpool::guard::with_open;

// What the program calls.
#pragma GCC visibility push(default)
extern "C" {

ssize_t read(int fd, void* buffer, size_t bytes) {
  static auto* const real = next<ssize_t(int, void*, size_t)>("read");
  return with_open(buffer, bytes, Kernel::kWrites, [&] { return real(fd, buffer, bytes); });
}

ssize_t __read_chk(int fd, void* buffer, size_t bytes, size_t room) {
  static auto* const real = next<ssize_t(int, void*, size_t, size_t)>("__read_chk");
  return with_open(buffer, bytes, Kernel::kWrites, [&] { return real(fd, buffer, bytes, room); });
}

ssize_t write(int fd, const void* buffer, size_t bytes) {
  static auto* const real = next<ssize_t(int, const void*, size_t)>("write");
  return with_open(buffer, bytes, Kernel::kReads, [&] { return real(fd, buffer, bytes); });
}

ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  static auto* const real = next<ssize_t(int, void*, size_t, off_t)>("pread");
  return with_open(buffer, bytes, Kernel::kWrites, [&] { return real(fd, buffer, bytes, offset); });
}

ssize_t __pread_chk(int fd, void* buffer, size_t bytes, off_t offset, size_t room) {
  static auto* const real = next<ssize_t(int, void*, size_t, off_t, size_t)>("__pread_chk");
  return with_open(buffer, bytes, Kernel::kWrites,
                   [&] { return real(fd, buffer, bytes, offset, room); });
}

ssize_t pwrite(int fd, const void* buffer, size_t bytes, off_t offset) {
  static auto* const real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return with_open(buffer, bytes, Kernel::kReads, [&] { return real(fd, buffer, bytes, offset); });
}

// off_t has 64 bits here.
[[gnu::alias("pread")]] ssize_t pread64(int fd, void* buffer, size_t bytes, off64_t offset);
[[gnu::alias("__pread_chk")]] ssize_t __pread64_chk(int fd, void* buffer, size_t bytes,
                                                    off64_t offset, size_t room);
[[gnu::alias("pwrite")]] ssize_t pwrite64(int fd, const void* buffer, size_t bytes, off64_t offset);

ssize_t readv(int fd, const iovec* pieces, int count) {
  static auto* const real = next<ssize_t(int, const iovec*, int)>("readv");
  return with_open(
      pieces_of(pieces, count), Kernel::kWrites, [&] { return real(fd, pieces, count); },
      arguments_of(pieces_of(pieces, count)));
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  static auto* const real = next<ssize_t(int, const iovec*, int)>("writev");
  return with_open(
      pieces_of(pieces, count), Kernel::kReads, [&] { return real(fd, pieces, count); },
      arguments_of(pieces_of(pieces, count)));
}

ssize_t preadv(int fd, const iovec* pieces, int count, off_t offset) {
  static auto* const real = next<ssize_t(int, const iovec*, int, off_t)>("preadv");
  return with_open(
      pieces_of(pieces, count), Kernel::kWrites, [&] { return real(fd, pieces, count, offset); },
      arguments_of(pieces_of(pieces, count)));
}

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  static auto* const real = next<ssize_t(int, const iovec*, int, off_t)>("pwritev");
  return with_open(
      pieces_of(pieces, count), Kernel::kReads, [&] { return real(fd, pieces, count, offset); },
      arguments_of(pieces_of(pieces, count)));
}

[[gnu::alias("preadv")]] ssize_t preadv64(int fd, const iovec* pieces, int count, off64_t offset);
[[gnu::alias("pwritev")]] ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t offset);

ssize_t recv(int fd, void* buffer, size_t bytes, int flags) {
  static auto* const real = next<ssize_t(int, void*, size_t, int)>("recv");
  return with_open(buffer, bytes, Kernel::kWrites, [&] { return real(fd, buffer, bytes, flags); });
}

ssize_t __recv_chk(int fd, void* buffer, size_t bytes, size_t room, int flags) {
  static auto* const real = next<ssize_t(int, void*, size_t, size_t, int)>("__recv_chk");
  return with_open(buffer, bytes, Kernel::kWrites,
                   [&] { return real(fd, buffer, bytes, room, flags); });
}

ssize_t send(int fd, const void* buffer, size_t bytes, int flags) {
  static auto* const real = next<ssize_t(int, const void*, size_t, int)>("send");
  return with_open(buffer, bytes, Kernel::kReads, [&] { return real(fd, buffer, bytes, flags); });
}

ssize_t recvfrom(int fd, void* buffer, size_t bytes, int flags, sockaddr* from,
                 socklen_t* from_bytes) {
  static auto* const real =
      next<ssize_t(int, void*, size_t, int, sockaddr*, socklen_t*)>("recvfrom");
  return with_open(buffer, bytes, Kernel::kWrites,
                   [&] { return real(fd, buffer, bytes, flags, from, from_bytes); });
}

ssize_t sendto(int fd, const void* buffer, size_t bytes, int flags, const sockaddr* to,
               socklen_t to_bytes) {
  static auto* const real =
      next<ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t)>("sendto");
  return with_open(buffer, bytes, Kernel::kReads,
                   [&] { return real(fd, buffer, bytes, flags, to, to_bytes); });
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  static auto* const real = next<ssize_t(int, msghdr*, int)>("recvmsg");
  return with_open(
      pieces_of(message), Kernel::kWrites, [&] { return real(fd, message, flags); },
      arguments_of(message));
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const real = next<ssize_t(int, const msghdr*, int)>("sendmsg");
  return with_open(
      pieces_of(message), Kernel::kReads, [&] { return real(fd, message, flags); },
      arguments_of(message));
}

size_t fread(void* buffer, size_t size, size_t count, FILE* stream) {
  static auto* const real = next<size_t(void*, size_t, size_t, FILE*)>("fread");
  return items(buffer, size, count, Kernel::kWrites,
               [&] { return real(buffer, size, count, stream); });
}

size_t __fread_chk(void* buffer, size_t room, size_t size, size_t count, FILE* stream) {
  static auto* const real = next<size_t(void*, size_t, size_t, size_t, FILE*)>("__fread_chk");
  return items(buffer, size, count, Kernel::kWrites,
               [&] { return real(buffer, room, size, count, stream); });
}

size_t fwrite(const void* buffer, size_t size, size_t count, FILE* stream) {
  static auto* const real = next<size_t(const void*, size_t, size_t, FILE*)>("fwrite");
  return items(buffer, size, count, Kernel::kReads,
               [&] { return real(buffer, size, count, stream); });
}

}  // extern "C"
#pragma GCC visibility pop
