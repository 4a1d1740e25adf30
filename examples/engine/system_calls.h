// The system calls that a daemon makes while it serves. Its own code and its libraries (glibc,
// rdma-core, liburing, librados) need them for connections, stores, reloads, changes, metrics and
// the stop. docs/operate/service.md lists them.
//
// The list comes from traces of all tests of the daemons. Calls of rdma-core's providers and of
// other processors (openat in place of open) were added from their sources. Calls whose arguments
// are restricted are in call_filter.cc.
//
// Thread safety: constants.
#pragma once

#include <string_view>

namespace mrpool::engine {

// clang-format off
// In alphabetical order.
inline constexpr std::string_view kAllowedCalls[] = {
    "accept", "accept4", "access", "bind", "brk", "clock_getres", "clock_gettime",
    "clock_nanosleep", "close", "connect", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_wait", "eventfd2", "exit", "exit_group", "faccessat", "faccessat2", "fallocate",
    "fchmod", "fchown", "fcntl", "fdatasync", "fstat", "fstatfs", "fsync", "ftruncate", "futex",
    "getdents64", "getegid", "geteuid", "getgid", "getpeername", "getpid", "getrandom",
    "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "listen", "lseek", "madvise", "membarrier", "mremap",
    "munmap", "nanosleep", "newfstatat", "openat", "pipe2", "poll", "ppoll", "pread64", "preadv",
    "pwrite64", "pwritev", "read", "readlink", "readlinkat", "readv", "recvfrom", "recvmsg",
    "rename", "renameat", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigtimedwait", "sched_getaffinity", "sched_yield", "sendmmsg",
    "sendmsg", "sendto", "set_robust_list", "setsockopt", "shutdown", "statfs", "statx",
    "sysinfo", "timerfd_create", "timerfd_settime", "uname", "unlink", "unlinkat", "write",
    "writev"};

// A daemon never makes these calls, and an attacker who executes code in it needs them first.
inline constexpr std::string_view kFatalCalls[] = {
    "add_key", "bpf", "chroot", "create_module", "delete_module", "execve", "execveat",
    "finit_module", "fork", "fsmount", "fsopen", "init_module", "kcmp", "kexec_file_load",
    "kexec_load", "keyctl", "mount", "move_mount", "open_by_handle_at", "open_tree",
    "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace", "request_key", "setfsgid", "setfsuid", "setgid", "setgroups",
    "setns", "setregid", "setresgid", "setresuid", "setreuid", "setuid", "umount2", "unshare",
    "userfaultfd", "vfork"};
// clang-format on

}  // namespace mrpool::engine
