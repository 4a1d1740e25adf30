// A volume around another: what a derived class does not replace is the inner one's.
//
// Thread safety and ownership: as Volume; shares the inner one.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "examples/storage/storage.h"

namespace mrpool::storage {

class VolumeWrapper : public Volume {
 public:
  explicit VolumeWrapper(std::shared_ptr<Volume> inner) : inner_(std::move(inner)) {
    if (inner_->shared()) set_shared();
  }
  Geometry geometry() const override { return inner_->geometry(); }
  const std::string& spec() const override { return inner_->spec(); }
  const StoreIdentity& identity() const override { return inner_->identity(); }
  absl::Status still_there() const override { return inner_->still_there(); }
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to) override { return inner_->refresh(grow_to); }
  bool fenced() const override { return inner_->fenced(); }
  void yield() override { inner_->yield(); }
  std::span<std::byte> memory() override { return inner_->memory(); }
  std::byte* locate(uint64_t offset, uint64_t length) override {
    return inner_->locate(offset, length);
  }

 protected:
  Volume& inner() { return *inner_; }

 private:
  const std::shared_ptr<Volume> inner_;
};

}  // namespace mrpool::storage
