// Reactors, tasks and timers in C.
#include "mrpool/reactor.h"

#include <new>

#include "transport/c/attributes.h"
#include "transport/c/handles.h"

using mrpool::Nanoseconds, mrpool::Reactor, mrpool::Task, mrpool::Timer;
using mrpool::c::object;

namespace {

// The longest that a Nanoseconds holds stands for everything above it.
Nanoseconds nanoseconds(uint64_t count) {
  return count > uint64_t(INT64_MAX) ? Nanoseconds::max() : Nanoseconds(int64_t(count));
}

// The part of the program's struct after the function; constructed at the first use.
template <typename Outer, typename Inner, auto Call>
struct Embedded {
  static_assert(sizeof(Inner) <= sizeof(Outer::opaque) && alignof(Inner) <= alignof(void*));
  static Inner& in(Outer& outer) {
    void* const place = outer.opaque;
    if (outer.opaque[0] != nullptr) return *std::launder(static_cast<Inner*>(place));
    return *new (place) Inner([](Inner& self) {
      auto* const around = reinterpret_cast<char*>(&self) - offsetof(Outer, opaque);
      auto* const found = reinterpret_cast<Outer*>(around);
      (found->*Call)(found);
    });
  }
};
using EmbeddedTask = Embedded<mrpool_task, Task, &mrpool_task::run>;
using EmbeddedTimer = Embedded<mrpool_timer, Timer, &mrpool_timer::expired>;

}  // namespace

int mrpool_reactor_create(const mrpool_reactor_attr* attr, mrpool_reactor** reactor) {
  return mrpool::c::guarded([&] {
    if (reactor == nullptr) return mrpool::c::is_null("reactor");
    mrpool_reactor_attr given{};
    if (attr != nullptr) {
      if (const int error = mrpool::c::read(attr, given, "attr")) return error;
    }
    mrpool::ReactorOptions options;
    if (given.spin != 0) options.spin = nanoseconds(given.spin);
    auto made = Reactor::create(options);
    if (!made.ok()) return mrpool::c::failed(made.status());
    *reactor = mrpool::c::handle<mrpool_reactor>(std::move(*made));
    return 0;
  });
}

void mrpool_reactor_destroy(mrpool_reactor* reactor) { delete object(reactor); }
void mrpool_reactor_run(mrpool_reactor* reactor) { object(reactor)->run(); }
void mrpool_reactor_stop(mrpool_reactor* reactor) { object(reactor)->stop(); }
size_t mrpool_reactor_poll(mrpool_reactor* reactor) { return object(reactor)->poll(); }
int mrpool_reactor_arm(mrpool_reactor* reactor) { return object(reactor)->arm(); }
int mrpool_reactor_fd(mrpool_reactor* reactor) { return object(reactor)->fd(); }
uint64_t mrpool_reactor_now(const mrpool_reactor* reactor) {
  return uint64_t(object(reactor)->now().count());
}

void mrpool_task_post(mrpool_reactor* reactor, mrpool_task* task) {
  object(reactor)->post(EmbeddedTask::in(*task));
}

void mrpool_timer_arm(mrpool_reactor* reactor, mrpool_timer* timer, uint64_t delay) {
  EmbeddedTimer::in(*timer).arm(*object(reactor), nanoseconds(delay));
}
void mrpool_timer_cancel(mrpool_timer* timer) { EmbeddedTimer::in(*timer).cancel(); }
