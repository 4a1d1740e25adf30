// Places where a tracer may look (USDT): each is one instruction that does nothing until bpftrace,
// perf or a debugger puts a breakpoint there. docs/operate/tracing.md has their names and
// arguments.
//
// A build finds them where <sys/sdt.h> (systemtap-sdt-dev) is; without it there is nothing.
//
// Thread safety: none needed.
#pragma once

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
// MRPOOL_PROBE1(name, argument) and so on; arguments are integers or pointers.
#define MRPOOL_PROBE1(name, a) STAP_PROBE1(mrpool, name, a)
#define MRPOOL_PROBE2(name, a, b) STAP_PROBE2(mrpool, name, a, b)
#define MRPOOL_PROBE3(name, a, b, c) STAP_PROBE3(mrpool, name, a, b, c)
#else
#define MRPOOL_PROBE1(name, a) static_cast<void>(0)
#define MRPOOL_PROBE2(name, a, b) static_cast<void>(0)
#define MRPOOL_PROBE3(name, a, b, c) static_cast<void>(0)
#endif
