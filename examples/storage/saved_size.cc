#include "examples/storage/saved_size.h"

#include <sys/stat.h>

#include <algorithm>

#include "examples/base/units.h"
#include "examples/storage/file_size.h"
#include "examples/storage/spec.h"

namespace mrpool::storage {

std::string with_present_size(const std::string& text) {
  auto spec = parse_spec(text);
  if (!spec.ok() || spec->scheme != "file") return text;
  const auto option = std::ranges::find(spec->options, "size", &StoreSpec::Option::name);
  if (option == spec->options.end()) return text;
  const auto written = base::parse_size(option->value);
  struct stat info {};
  if (!written.ok() || ::stat(spec->target.c_str(), &info) != 0) return text;
  const auto bytes = size_there(info);
  if (!bytes || *bytes == *written) return text;
  option->value = base::exact_size(*bytes);
  return to_text(*spec);
}

}  // namespace mrpool::storage
