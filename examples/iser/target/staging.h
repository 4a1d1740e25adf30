// Staging memory: equal chunks of one registered region, for data that is fetched from or read for
// an initiator. A task takes all its chunks at once or waits, first come, first served: two tasks
// never hold half each.
//
// Thread safety: the reactor's thread. Ownership: one per protection domain; outlives its tasks'
// use of it. `ready` is called from the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/iser/target/task.h"
#include "mrpool/device.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

class Staging {
 public:
  using Ready = void (*)(Task& task);

  static absl::StatusOr<std::unique_ptr<Staging>> create(Reactor& reactor, Pd& pd, uint64_t bytes,
                                                         Ready ready);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  [[nodiscard]] bool take(Task& task, uint64_t bytes);
  void put(Task& task);
  void cancel(Task& task);

  std::span<std::byte> chunk(uint16_t index) const;
  // `length` bytes of the task's chunks from `offset` on, as work requests name them.
  size_t sges(const Task& task, uint64_t offset, uint64_t length, std::span<Sge> out) const;

  size_t total() const { return total_; }
  size_t available() const { return free_.size(); }
  size_t waiting() const { return waiting_; }

 private:
  struct Unmap {
    size_t size;
    void operator()(std::byte* memory) const;
  };
  Staging(Reactor& reactor, Ready ready);
  bool grant(Task& task);
  void serve();

  Reactor& reactor_;
  Ready ready_;
  std::unique_ptr<std::byte, Unmap> memory_;
  std::unique_ptr<Mr> mr_;
  size_t total_ = 0;
  std::vector<uint16_t> free_;
  Task* first_ = nullptr;
  Task* last_ = nullptr;
  size_t waiting_ = 0;

  // Those that wait are served from the loop, not from inside put().
  struct Serve : mrpool::Task {
    explicit Serve(Staging& staging);
    Staging& owner;
    bool posted = false;
  };
  Serve serve_task_;
};

}  // namespace mrpool::iser_target
