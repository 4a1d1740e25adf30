#include "examples/load/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "examples/base/exit_status.h"

namespace mrpool::load {
namespace {

// A signal handler has no other way in.
const char* g_program = "";
std::atomic<bool> g_heard{false};
std::atomic<Reactor*> g_reactor{nullptr};

// From signal handlers too.
[[noreturn]] void end_now() {
  for (const char* text : {g_program, ": interrupted\n"}) {
    (void)!::write(STDERR_FILENO, text, std::strlen(text));
  }
  ::_exit(base::kExitInterrupted);
}

void handle_signal(int number) {
  Reactor* const reactor = g_reactor.load(std::memory_order_acquire);
  const bool again = g_heard.exchange(true, std::memory_order_relaxed);
  if (reactor == nullptr || again || number == SIGALRM) end_now();
  ::alarm(1);  // until the loop has noticed
  reactor->stop();
}

}  // namespace

void Interrupt::take_signals(const char* program) {
  g_program = program;
  struct sigaction action {};
  action.sa_handler = handle_signal;  // no SA_RESTART: a wait for input ends too
  for (const int number : {SIGINT, SIGTERM, SIGALRM}) ::sigaction(number, &action, nullptr);
}

bool Interrupt::heard() { return g_heard.load(std::memory_order_relaxed); }

Interrupt::Interrupt(Reactor& reactor, std::function<void(Step)> tell)
    : reactor_(reactor),
      outer_(g_reactor.exchange(&reactor, std::memory_order_acq_rel)),
      tell_(std::move(tell)) {}

Interrupt::~Interrupt() {
  g_reactor.store(outer_, std::memory_order_release);
  ::alarm(0);
}

void Interrupt::run_until(const bool& done) {
  while (!done) {
    if (heard() && steps_ == 0) next_step();
    reactor_.run();
  }
}

void Interrupt::next_step() {
  ::alarm(0);
  switch (++steps_) {
    case 1:
      timer_.arm(reactor_, kInterruptedReadBack);
      return tell_(Step::kFirst);
    case 2:
      timer_.arm(reactor_, kInterruptedDrain);
      return tell_(Step::kHurry);
    case 3:
      timer_.arm(reactor_, kInterruptedEnd);
      return tell_(Step::kGiveUp);
    default:
      end_now();
  }
}

}  // namespace mrpool::load
