// A tree of statistics: each node has named values and named children. It is filled on demand from
// the counters of devices, pools, workers and the protocol.
//
// Names are lower case with underscores. Adding to an existing name adds the values, so that two
// sources of the same kind are summed.
//
// To add a metric, add a line to the table of its counters (examples/nvmf/target/counters.h,
// examples/iser/target/counters.h, include/mrpool/statistics.h); the engine's are in service.cc.
//
// Thread safety: distinct objects: safe. Ownership: a node owns its children; references to them
// are valid during its lifetime.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mrpool::engine {

class Statistics {
 public:
  void add(std::string_view name, uint64_t value);
  // The child with that name; created if it does not exist.
  Statistics& child(std::string_view name);

  // The value at `path`, names separated by '/'; null if it does not exist.
  const uint64_t* find(std::string_view path) const;
  // Calls `each` for every value with its path, in the order in which they were added.
  void visit(const std::function<void(const std::string& path, uint64_t value)>& each) const;

 private:
  void visit(const std::string& prefix,
             const std::function<void(const std::string& path, uint64_t value)>& each) const;

  std::vector<std::pair<std::string, uint64_t>> values_;
  std::list<std::pair<std::string, Statistics>> children_;
};

}  // namespace mrpool::engine
