// Changes run one after another, and what waits does not hold up the main loop.
#include "examples/engine/changes.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace mrpool::engine::testing {
namespace {

class ChangesTest : public ::testing::Test {
 protected:
  Step step(Step::Where where, std::string name, absl::Status status = absl::OkStatus()) {
    return {where, [this, name, status] {
              log_.push_back(name + (std::this_thread::get_id() == here_ ? "" : " aside"));
              return status;
            }};
  }
  Changes::Done done(std::string name) {
    return [this, name](const absl::Status& status) {
      log_.push_back(name + (status.ok() ? " done" : " failed"));
    };
  }

  const std::thread::id here_ = std::this_thread::get_id();
  std::vector<std::string> log_;
  boost::asio::io_context loop_;
};

TEST_F(ChangesTest, OneAfterAnother) {
  Changes changes(loop_, [this] { log_.emplace_back("after"); });
  EXPECT_FALSE(changes.busy());
  changes.add({step(Step::Where::kLoop, "a1"), step(Step::Where::kAside, "a2"),
               step(Step::Where::kLoop, "a3")},
              done("a"));
  changes.add(
      {step(Step::Where::kAside, "b1", absl::InternalError("no")), step(Step::Where::kLoop, "b2")},
      done("b"));
  changes.add({}, done("c"));
  EXPECT_TRUE(changes.busy());
  while (changes.busy()) loop_.run_one();
  EXPECT_EQ(log_, (std::vector<std::string>{"a1", "a2 aside", "a3", "after", "a done", "b1 aside",
                                            "after", "b failed", "after", "c done"}));
}

// A file that a refused change has made is removed by its step's end.
TEST_F(ChangesTest, WhatStepsHeldIsGoneAtTheEnd) {
  Changes changes(loop_);
  const auto held = std::make_shared<int>(0);
  for (const Step::Where where : {Step::Where::kLoop, Step::Where::kAside}) {
    long holders = 0;
    changes.add({{where, [held] { return absl::InternalError("no"); }}},
                [&](const absl::Status&) { holders = held.use_count(); });
    loop_.restart();
    while (changes.busy()) loop_.run_one();
    EXPECT_EQ(holders, 1);
  }
}

TEST_F(ChangesTest, TheLoopContinuesWhileAStepWaits) {
  Changes changes(loop_);
  std::promise<void> go;
  changes.add({{Step::Where::kAside,
                [&] {
                  go.get_future().wait();
                  return absl::OkStatus();
                }}},
              done("slow"));
  while (loop_.poll() != 0) {
  }
  boost::asio::post(loop_, [&] {
    log_.emplace_back("other");
    go.set_value();
  });
  while (changes.busy()) loop_.run_one();
  EXPECT_EQ(log_, (std::vector<std::string>{"other", "slow done"}));
}

TEST_F(ChangesTest, ADoneMayAddAnother) {
  Changes changes(loop_);
  changes.add({}, [&](const absl::Status&) { changes.add({}, done("second")); });
  while (changes.busy()) loop_.run_one();
  EXPECT_EQ(log_, std::vector<std::string>{"second done"});
}

TEST_F(ChangesTest, TheEndWaitsForTheStepAndForgetsTheRest) {
  {
    Changes changes(loop_);
    std::promise<void> begun;
    changes.add({{Step::Where::kAside,
                  [&] {
                    begun.set_value();
                    std::this_thread::sleep_for(std::chrono::milliseconds(20));
                    log_.emplace_back("ran");
                    return absl::OkStatus();
                  }},
                 step(Step::Where::kLoop, "never")},
                done("never"));
    changes.add({}, done("never"));
    loop_.poll();
    begun.get_future().wait();
  }
  loop_.restart();
  loop_.poll();
  EXPECT_EQ(log_, std::vector<std::string>{"ran"});
}

}  // namespace
}  // namespace mrpool::engine::testing
