// Guards: bytes that a program must not touch yet, and the handler that runs when it does.
//
// A device that holds back what it received (transport/uiwarp/sanitizer.h) arms a guard over the
// bytes and disarms it when the program has polled the completion that orders them. A load or a
// store of the program in between is a touch: reported once, and then the program goes on.
//
// The device itself reads and writes the same memory: between enter_device() and leave_device() the
// calling thread is the device, and touches nothing.
//
// Three kinds, which see different things (docs/operate/checker.md):
//   pages     protected pages and a SIGSEGV handler; any program
//   asan      manual poisoning; programs built with AddressSanitizer, exact to eight bytes
//   valgrind  client requests of memcheck; any program under Valgrind, exact to the byte
//
// Thread safety: all calls from any thread, but for enter and leave, which belong to their thread.
// Ownership: the guards live as long as the process. Units: bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mrpool::guard {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool empty() const { return begin >= end; }
};
inline Range range_of(const void* start, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(start);
  return {begin, begin + bytes};
}

// Data of the caller of arm(), returned with each touch.
using Note = std::array<uint64_t, 6>;

// Stands for one armed range; 0 for none.
using Handle = uint64_t;

struct Touch {
  uintptr_t address = 0;
  bool write = false;
  bool system_call = false;   // the program handed the bytes to the kernel
  uintptr_t instruction = 0;  // of the access; of a system call, where it returns to
  Handle handle = 0;          // disarmed by now
  Note note{};
};

struct Callbacks {
  // Runs on the thread that touched, in a signal handler: async-signal-safe. Null: touches are not
  // reported.
  void (*touched)(const Touch& touch) = nullptr;
  // The process may end now: what was touched has to be reported. Not in a signal handler.
  void (*may_end)() = nullptr;
  // A description of an armed range, for Valgrind's own reports; not in a signal handler.
  void (*describe)(const Note& note, char* text, size_t bytes) = nullptr;
};

class Guard {
 public:
  virtual std::string_view name() const = 0;
  // Once, before all else. False: this kind does not work in this process.
  virtual bool start(const Callbacks& callbacks) = 0;
  // Memory that was registered and no longer is. What is outside of such memory is not guarded.
  virtual void add_region(Range region) = 0;
  virtual void remove_region(Range region) = 0;
  // Guards `bytes`, for an earlier guard of the same bytes too, which ends. 0: not guarded.
  virtual Handle arm(Range bytes, const Note& note) = 0;
  // A handle that was touched or replaced meanwhile: nothing happens.
  virtual void disarm(Handle handle) = 0;
  // Copies received bytes to where they are guarded, without opening them to others. False: not
  // done; the device may copy them itself.
  virtual bool place(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void enter_device() = 0;
  virtual void leave_device() = 0;

 protected:
  ~Guard() = default;
};

// The program's thread is the device while one of these lives. Null: nothing happens.
class DeviceScope {
 public:
  explicit DeviceScope(Guard* guard) : guard_(guard) {
    if (guard_ != nullptr) guard_->enter_device();
  }
  ~DeviceScope() {
    if (guard_ != nullptr) guard_->leave_device();
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Guard* guard_;
};

}  // namespace mrpool::guard
