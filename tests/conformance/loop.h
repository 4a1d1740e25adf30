// A reactor with a thread of its own.
//
// Thread safety: call() from any thread but the loop's. Ownership: a value; its end joins the
// thread.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "mrpool/reactor.h"

namespace mrpool::conformance {

class Loop {
 public:
  Loop() {
    auto made = Reactor::create({.spin = std::chrono::microseconds(20)});
    EXPECT_TRUE(made.ok()) << made.status();
    reactor = std::move(*made);
    thread_ = std::thread([this] { reactor->run(); });
  }
  ~Loop() {
    reactor->stop();
    thread_.join();
  }

  // Runs `work` on the loop and waits for it.
  template <typename Work>
  void call(Work work) {
    struct Call : Task {
      explicit Call(Work& w)
          : Task([](Task& self) {
              auto& task = static_cast<Call&>(self);
              task.work();
              task.ran.set_value();
            }),
            work(w) {}
      Work& work;
      std::promise<void> ran;
    } task(work);
    reactor->post(task);
    task.ran.get_future().wait();
  }

  std::unique_ptr<Reactor> reactor;

 private:
  std::thread thread_;
};

}  // namespace mrpool::conformance
