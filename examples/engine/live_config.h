// A daemon's configuration while it runs: the document is the state. A change edits a copy of it,
// the copy is completed and served as a whole, and only then it is the configuration; on an error
// all stays as it was.
//
// Config: `absl::Status complete(Config&)`. Served: `std::shared_ptr<Served::Change>
// change(const Config&)`, whose steps are resolve(), which may wait, listen() on the main loop,
// open(), which may wait, and commit() on the main loop, which cannot fail.
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

// All steps of a change at once, for a start and for tests.
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
  // Changes since the configuration was read or saved.
  uint64_t unsaved() const { return unsaved_; }
  // It is in the file now.
  void saved() { unsaved_ = 0; }

  // Of a change by the control socket: `edit` works on a copy.
  std::vector<Step> change(Edit edit) {
    return steps(
        [this, edit = std::move(edit)](Config& next) {
          next = config_;
          absl::Status status = edit(next);
          return status.ok() ? complete(next) : status;
        },
        [this] { ++unsaved_; });
  }
  // Of a reload: `next`, which is filled before, takes its place.
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
