// What a Site will serve, between prepare() and serve().
//
// Thread safety: values. Ownership: it shares targets and units.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "examples/iser/target/site.h"

namespace mrpool::iser_target {

// A prepared target, and for each unit the one that it replaces; null: none.
struct Site::Part {
  std::shared_ptr<Target> target;
  std::map<uint16_t, std::shared_ptr<Unit>> units{};
  std::vector<std::pair<std::shared_ptr<Unit>, std::shared_ptr<Unit>>> successors{};
};

struct Site::Next {
  Config config{};
  std::vector<Part> parts{};
  std::vector<Named> named{};
};

}  // namespace mrpool::iser_target
