// Memory for data, registered with its device once and with the least rights that device's way of
// fast registration allows.
//
// On a device with real fast registration the registration is local only: no peer reaches a byte of
// it but through the key of one I/O. Memory windows need the right to be bound; a device that has
// neither opens the buffer to its peers for as long as it lives, and nothing else can be had there.
//
// Ownership: owns the memory and its registration; destroy before the Pd, after the last I/O.
// Thread safety: distinct objects: safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "mrpool/device.h"
#include "mrpool/mr.h"

namespace mrpool::load {

class Buffer {
 public:
  // Zeroed, page aligned, with those rights. The kernel clears a page when it is first touched, so
  // that nobody waits for all of a large buffer.
  static absl::StatusOr<Buffer> create(Pd& pd, size_t bytes);
  // With rights of the caller's choice.
  static absl::StatusOr<Buffer> create(Pd& pd, size_t bytes, Access access);

  std::span<std::byte> bytes() const { return mr_->memory(); }
  Sge sge(size_t offset, uint32_t length) const { return mr_->sge(offset, length); }
  Sge sge() const { return mr_->sge(0, uint32_t(mr_->memory().size())); }

 private:
  struct Free {
    size_t bytes = 0;
    void operator()(std::byte* memory) const;
  };
  using Memory = std::unique_ptr<std::byte[], Free>;
  Buffer(Memory memory, std::unique_ptr<Mr> mr) : memory_(std::move(memory)), mr_(std::move(mr)) {}

  Memory memory_;
  std::unique_ptr<Mr> mr_;
};

}  // namespace mrpool::load
