// The configuration of a running daemon. A change edits a copy of it. The copy is completed and
// served as a whole, and replaces the configuration only then; on an error nothing changes.
//
// Config: `absl::Status complete(Config&)`. Served: `std::shared_ptr<Served::Change>
// change(const Config&)`, whose steps are resolve(), which may block, listen() on the main loop,
// open(), which may block, and commit() on the main loop, which cannot fail.
//
// Thread safety: the main loop's thread. Ownership: `served` outlives it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/changes.h"

namespace mrpool::engine {

// Runs all steps of a change in sequence; for the start and for tests.
template <typename Change>
absl::Status serve_at_once(Change&& change) {
  absl::Status status = change.listen();
  if (status.ok()) status = change.open();
  if (status.ok()) change.commit();
  return status;
}

template <typename Config, typename Served>
class LiveConfig {
 public:
  using Edit = std::function<absl::Status(Config&)>;

  LiveConfig(Served& served, Config config) : served_(served), config_(std::move(config)) {}

  const Config& config() const { return config_; }
  // The number of changes since the configuration was read or saved.
  uint64_t unsaved() const { return unsaved_; }
  // The configuration was saved to its file.
  void saved() { unsaved_ = 0; }

  // The steps of a change by the control socket; `edit` modifies a copy.
  std::vector<Step> change(Edit edit) {
    return steps(
        [this, edit = std::move(edit)](Config& next) {
          next = config_;
          absl::Status status = edit(next);
          return status.ok() ? complete(next) : status;
        },
        [this] { ++unsaved_; });
  }
  // The steps that serve the same configuration again: stores that were fenced are opened again.
  std::vector<Step> again() {
    return steps(
        [this](Config& next) {
          next = config_;
          return absl::OkStatus();
        },
        [] {});
  }
  // The steps of a reload: `next` replaces the configuration; it must be filled before.
  std::vector<Step> replace(std::shared_ptr<Config> next) {
    return steps(
        [next](Config& to) {
          to = *next;
          return absl::OkStatus();
        },
        [this] { unsaved_ = 0; });
  }

 private:
  std::vector<Step> steps(Edit make, std::function<void()> done) {
    struct Next {
      Config config;
      std::shared_ptr<typename Served::Change> change;
    };
    const auto next = std::make_shared<Next>();
    std::vector<Step> all;
    all.push_back({Step::Where::kLoop, [this, next, make = std::move(make)] {
                     if (absl::Status status = make(next->config); !status.ok()) return status;
                     next->change = served_.change(next->config);
                     return absl::OkStatus();
                   }});
    all.push_back({Step::Where::kAside, [next] {
                     next->change->resolve();
                     return absl::OkStatus();
                   }});
    all.push_back({Step::Where::kLoop, [next] { return next->change->listen(); }});
    all.push_back({Step::Where::kAside, [next] { return next->change->open(); }});
    all.push_back({Step::Where::kLoop, [this, next, done = std::move(done)] {
                     next->change->commit();
                     config_ = std::move(next->config);
                     done();
                     return absl::OkStatus();
                   }});
    return all;
  }

  Served& served_;
  Config config_;
  uint64_t unsaved_ = 0;
};

}  // namespace mrpool::engine
