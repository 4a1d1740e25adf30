// One tree of statistics: names with values, and children with names of their own. It is filled on
// demand from the counters of devices, pools, workers and the protocol.
//
// Names are lower case with underscores; a name that exists is added to, so that two sources of the
// same kind become one.
//
// To add a metric: a line in the table of what counts it (examples/nvmf/target/counters.h,
// examples/iser/target/counters.h, include/mrpool/statistics.h), or service.cc for the engine's.
//
// Thread safety: distinct objects: safe. Ownership: a node owns its children; references to them
// stay valid for as long as it lives.
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
  // The child with that name, made when there is none.
  Statistics& child(std::string_view name);

  // The value at `path`, names separated by '/'; null when there is none.
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
