// This file only walks the tree. To add a metric, see statistics_tree.h.
#include "examples/engine/statistics_tree.h"

#include <algorithm>

namespace mrpool::engine {
namespace {

template <typename Entries>
auto find_name(Entries& entries, std::string_view name) {
  return std::ranges::find_if(entries, [&](const auto& entry) { return entry.first == name; });
}

}  // namespace

void Statistics::add(std::string_view name, uint64_t value) {
  const auto at = find_name(values_, name);
  if (at == values_.end()) {
    values_.emplace_back(name, value);
  } else {
    at->second += value;
  }
}

Statistics& Statistics::child(std::string_view name) {
  const auto at = find_name(children_, name);
  if (at != children_.end()) return at->second;
  children_.emplace_back(std::string(name), Statistics());
  return children_.back().second;
}

const uint64_t* Statistics::find(std::string_view path) const {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) {
    const auto at = find_name(values_, path);
    return at == values_.end() ? nullptr : &at->second;
  }
  const auto at = find_name(children_, path.substr(0, slash));
  return at == children_.end() ? nullptr : at->second.find(path.substr(slash + 1));
}

void Statistics::visit(
    const std::function<void(const std::string& path, uint64_t value)>& each) const {
  visit("", each);
}

void Statistics::visit(
    const std::string& prefix,
    const std::function<void(const std::string& path, uint64_t value)>& each) const {
  for (const auto& [name, value] : values_) each(prefix + name, value);
  for (const auto& [name, node] : children_) node.visit(prefix + name + "/", each);
}

}  // namespace mrpool::engine
