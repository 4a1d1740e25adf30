// mrpool-iser-target without its process, with the configured number of threads.
//
// Thread safety: one thread. Ownership: owns its threads; the destructor stops it.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "examples/engine/statistics_tree.h"
#include "examples/iser/target/service.h"
#include "mrpool/reactor.h"

namespace mrpool::iser {

inline constexpr const char* kTarget = "iqn.2026-11.org.example:disk";

class Daemon {
 public:
  explicit Daemon(iser_target::Config config) : config_(std::move(config)) {
    config_.listen = {"uiwarp://127.0.0.1:0"};
    if (config_.targets.empty()) {
      config_.targets.push_back({.name = kTarget, .luns = {"ram:8MiB", "ram:1MiB"}});
    }
    run();
  }
  ~Daemon() { stop(); }

  void stop() {
    if (threads_.empty()) return;
    service_->stop([this] {
      for (const auto& reactor : reactors_) reactor->stop();
    });
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    engine::Statistics all;
    service_->engine().add_statistics(all);
    const auto sum = [&all](std::string_view suffix) {
      uint64_t total = 0;
      all.visit([&](const std::string& path, uint64_t value) {
        if (path.ends_with(suffix)) total += value;
      });
      return total;
    };
    mrs_in_use = sum("/mrs/in_use");
    mr_gets = sum("/mrs/gets");
    mr_waits = sum("/mrs/waits");
    staging = sum("/staging/in_use");
    counters = service_->site().totals();
    service_.reset();
  }
  // Serves another configuration, from this thread, as SIGHUP does.
  absl::Status apply(const iser_target::Config& config) { return service_->apply(config); }
  const std::string& address() const { return address_; }
  // After stop().
  uint64_t mrs_in_use = 99;
  uint64_t mr_gets = 0;
  uint64_t mr_waits = 0;
  uint64_t staging = 99;
  iser_target::Totals counters;

 private:
  void run() {
    service_ = std::make_unique<iser_target::Service>(config_);
    std::vector<Reactor*> pointers;
    for (uint32_t i = 0; i < config_.engine.threads; ++i) {
      reactors_.push_back(*Reactor::create());
      pointers.push_back(reactors_.back().get());
    }
    const absl::Status started = service_->start(pointers);
    ASSERT_TRUE(started.ok()) << started;
    address_ = service_->engine().listening().front().address.to_string();
    for (uint32_t i = 0; i < config_.engine.threads; ++i) {
      threads_.emplace_back([this, i] {
        reactors_[i]->run();
        service_->engine().destroy_worker(i);
      });
    }
    for (uint32_t i = 0; i < config_.engine.threads; ++i) {
      std::promise<void> runs;
      service_->engine().worker(i).mailbox().post([&] { runs.set_value(); });
      runs.get_future().wait();
    }
  }

  iser_target::Config config_;
  std::vector<std::unique_ptr<Reactor>> reactors_;
  std::unique_ptr<iser_target::Service> service_;
  std::vector<std::thread> threads_;
  std::string address_;
};

}  // namespace mrpool::iser
