// What the tests of storage share: a request with its memory, and a directory of their own.
//
// Thread safety: distinct objects: safe. Ownership: a Request owns its memory.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "examples/storage/storage.h"

namespace mrpool::storage {

// One request with its buffer, run to its end.
class Request : public Io {
 public:
  explicit Request(Op o, uint64_t at, uint64_t bytes, size_t pieces = 1)
      : Io([](Io& self) { static_cast<Request&>(self).finished = true; }) {
    op = o;
    offset = at;
    length = bytes;
    memory.reset(static_cast<std::byte*>(aligned_alloc(4096, std::max<size_t>(bytes, 4096))));
    for (size_t i = 0; i < pieces; ++i) {
      list.push_back({memory.get() + i * (bytes / pieces), size_t(bytes / pieces)});
    }
    buffers = list;
  }
  Error run(Channel& channel, Reactor& reactor) {
    finished = channel.submit(*this);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!finished && std::chrono::steady_clock::now() < deadline) reactor.poll();
    EXPECT_TRUE(finished);
    return error;
  }
  void fill(uint64_t seed) {
    std::mt19937_64 rng(seed);
    for (uint64_t i = 0; i < length; ++i) memory.get()[i] = std::byte(rng());
  }
  std::string_view bytes() const {
    return {reinterpret_cast<const char*>(memory.get()), size_t(length)};
  }

  bool finished = false;
  struct Free {
    void operator()(std::byte* p) const { free(p); }
  };
  std::unique_ptr<std::byte, Free> memory;
  std::vector<iovec> list;
};

class TempDir {
 public:
  TempDir() {
    char name[] = "/var/tmp/mrpool_storage_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Whether the condition comes true. A file that is let go of is closed a moment later, elsewhere.
template <typename Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// The message of a failed open; empty: it succeeded.
inline std::string why_not(std::string_view spec, const OpenOptions& options = {}) {
  const auto volume = open(spec, options);
  return volume.ok() ? std::string() : std::string(volume.status().message());
}

}  // namespace mrpool::storage
