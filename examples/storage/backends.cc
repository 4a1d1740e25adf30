#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/storage/backend.h"
#include "examples/storage/file.h"
#include "examples/storage/ram.h"

namespace mrpool::storage {
namespace {

constexpr const Backend* kBackends[] = {&kRam, &kNull, &kFile};

// For every backend.
constexpr std::string_view kBlockSizeOptions[] = {"bs=512", "bs=4096"};
static_assert(kBlockSizes[0] == 512 && kBlockSizes[1] == 4096);

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

const Backend* find(std::string_view scheme) {
  const auto found = std::ranges::find(kBackends, scheme, &Backend::scheme);
  return found == std::end(kBackends) ? nullptr : *found;
}

// "size=VALUE" fits "size=10GiB"; "direct" fits itself.
bool fits(std::string_view option, std::string_view written) {
  const size_t equals = option.find('=');
  return equals == option.npos ? option == written
                               : written.starts_with(option.substr(0, equals + 1));
}

bool known(const Backend& backend, std::string_view written) {
  return std::ranges::any_of(backend.options,
                             [written](std::string_view option) { return fits(option, written); });
}

absl::Status unknown_option(const Spec& spec, const Backend& backend, const std::string& option) {
  std::string there_are;
  for (const auto options :
       {backend.options, std::span<const std::string_view>(kBlockSizeOptions)}) {
    for (const std::string_view each : options) {
      absl::StrAppend(&there_are, there_are.empty() ? "" : ", ", view(each));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", spec.text, "\": option \"", option,
                                                 "\" is not known for ", view(backend.scheme),
                                                 "; there are ", there_are));
}

absl::StatusOr<const Backend*> parse(std::string_view text, const OpenOptions& options,
                                     Spec& spec) {
  spec.text = text;
  const size_t colon = spec.text.find(':');
  const Backend* backend =
      colon == std::string::npos ? nullptr : find(std::string_view(text).substr(0, colon));
  if (backend == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\" names no storage; write ", examples()));
  }
  const std::vector<std::string> parts = absl::StrSplit(spec.text.substr(colon + 1), ',');
  spec.target = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    if (std::ranges::find(kBlockSizeOptions, parts[i]) != std::end(kBlockSizeOptions)) continue;
    if (!known(*backend, parts[i])) return unknown_option(spec, *backend, parts[i]);
    spec.options.push_back(parts[i]);
  }
  spec.block_size = block_size_of(text, options.block_size);
  if (!valid_block_size(spec.block_size)) {
    return absl::InvalidArgumentError(absl::StrCat("block size ", spec.block_size,
                                                   " is not supported; use ", kBlockSizes[0],
                                                   " or ", kBlockSizes[1]));
  }
  return backend;
}

}  // namespace

std::span<const Backend* const> backends() { return kBackends; }

bool Spec::has(std::string_view flag) const {
  return std::ranges::find(options, flag) != options.end();
}

std::optional<std::string_view> Spec::value(std::string_view key) const {
  for (const std::string_view option : options) {
    if (option.starts_with(key) && option.substr(key.size()).starts_with('=')) {
      return option.substr(key.size() + 1);
    }
  }
  return std::nullopt;
}

std::string examples() {
  std::string text;
  for (const Backend* backend : kBackends) {
    const bool last = backend == kBackends[std::size(kBackends) - 1];
    absl::StrAppend(&text, text.empty() ? "" : last ? " or " : ", ", view(backend->example));
  }
  return text;
}

std::string help() {
  std::string text;
  for (const Backend* backend : kBackends) {
    std::string form = absl::StrCat(view(backend->scheme), ":", view(backend->target));
    for (const std::string_view option : backend->options) {
      absl::StrAppend(&form, "[,", view(option), "]");
    }
    absl::StrAppend(&text, form, "[,bs=512|4096]: ", view(backend->summary), "\n");
  }
  return text;
}

uint32_t block_size_of(std::string_view spec, uint32_t otherwise) {
  const std::vector<std::string> parts = absl::StrSplit(std::string(spec), ',');
  for (size_t i = 1; i < parts.size(); ++i) {
    const auto found = std::ranges::find(kBlockSizeOptions, parts[i]);
    if (found != std::end(kBlockSizeOptions)) {
      otherwise = kBlockSizes[found - std::begin(kBlockSizeOptions)];
    }
  }
  return otherwise;
}

absl::Status check(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  return backend.ok() ? (*backend)->check(spec) : backend.status();
}

absl::StatusOr<std::shared_ptr<Volume>> open(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  if (!backend.ok()) return backend.status();
  return (*backend)->open(spec);
}

}  // namespace mrpool::storage
