#include "examples/control/methods.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::control {

void Methods::add(Method method) {
  std::string name = method.name;
  if (!methods_.emplace(name, std::move(method)).second) {
    std::fprintf(stderr, "the method %s is defined twice\n", name.c_str());
    std::abort();
  }
}

const Method* Methods::find(std::string_view name) const {
  const auto at = methods_.find(name);
  return at == methods_.end() ? nullptr : &at->second;
}

void Methods::call(std::string_view name, const boost::json::object& parameters,
                   Reply reply) const {
  const Method* method = find(name);
  if (method == nullptr) {
    return reply(absl::UnimplementedError(absl::StrCat("there is no method \"", std::string(name),
                                                       "\"; rpc_get_methods lists them")));
  }
  if (absl::Status status = check(method->parameters, parameters); !status.ok()) {
    return reply(std::move(status));
  }
  const Given given(parameters);
  if (method->run) return reply(method->run(given));
  method->start(given, std::move(reply));
}

}  // namespace mrpool::control
