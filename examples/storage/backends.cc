#include <algorithm>

#include "absl/strings/str_cat.h"
#include "examples/storage/backend.h"
#include "examples/storage/file.h"
#include "examples/storage/ram.h"
#include "examples/storage/rbd.h"

namespace mrpool::storage {
namespace {

constexpr const Backend* kBackends[] = {&kRam, &kNull, &kFile, &kRbd};

// Characters of options that fit into a line of --help.
constexpr size_t kLongestOptions = 60;

// For every backend.
constexpr std::string_view kBlockSizeOptions[] = {"bs=512", "bs=4096"};
static_assert(kBlockSizes[0] == 512 && kBlockSizes[1] == 4096);

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

const Backend* find(std::string_view scheme) {
  const auto found = std::ranges::find(kBackends, scheme, &Backend::scheme);
  return found == std::end(kBackends) ? nullptr : *found;
}

// "size=VALUE" fits "size=10GiB"; "direct" fits itself.
bool fits(std::string_view known, const StoreSpec::Option& option) {
  const size_t equals = known.find('=');
  return known.substr(0, equals) == option.name && (equals != known.npos) == option.has_value;
}

bool is_known(const Backend& backend, const StoreSpec::Option& option) {
  if (option.name == "bs") {
    return std::ranges::find(kBlockSizeOptions, "bs=" + option.value) !=
           std::end(kBlockSizeOptions);
  }
  return std::ranges::any_of(backend.options,
                             [&option](std::string_view known) { return fits(known, option); });
}

absl::Status unknown_option(const Spec& spec, const Backend& backend,
                            const StoreSpec::Option& option,
                            std::span<const std::string_view> of_place) {
  if (option.name == "bs") {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", spec.text, "\": blocks of ", escape(option.value), " bytes cannot be served; ",
        "write ", view(kBlockSizeOptions[0]), " or ", view(kBlockSizeOptions[1])));
  }
  std::string there_are;
  for (const auto options :
       {backend.options, std::span<const std::string_view>(kBlockSizeOptions), of_place}) {
    for (const std::string_view each : options) {
      absl::StrAppend(&there_are, there_are.empty() ? "" : ", ", view(each));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", spec.text, "\": option \"", option.name,
      option.has_value ? absl::StrCat("=", escape(option.value)) : "", "\" is not known for ",
      view(backend.scheme), "; there are ", there_are, " (write %2C for a comma in a name)"));
}

absl::StatusOr<const Backend*> parse(std::string_view text, const OpenOptions& options,
                                     Spec& spec) {
  absl::StatusOr<StoreSpec> parsed = parse_spec(text);
  if (!parsed.ok()) return parsed.status();
  spec = {*std::move(parsed), std::string(text),    block_size_of(text, options.block_size),
          options.replaces,   options.others_leave, options.growth};
  const Backend* backend = find(spec.scheme);
  if (backend == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", spec.text, "\" names no storage; write ", examples()));
  }
  for (const StoreSpec::Option& option : spec.options) {
    if (!is_known(*backend, option)) {
      return unknown_option(spec, *backend, option, options.of_place);
    }
  }
  if (!valid_block_size(spec.block_size)) {
    return absl::InvalidArgumentError(absl::StrCat("block size ", spec.block_size,
                                                   " is not supported; use ", kBlockSizes[0],
                                                   " or ", kBlockSizes[1]));
  }
  return backend;
}

}  // namespace

std::span<const Backend* const> backends() { return kBackends; }

std::string address_of(const StoreSpec& spec) {
  const Backend* backend = find(spec.scheme);
  if (backend == nullptr || backend->way.empty()) return {};
  StoreSpec address{.scheme = spec.scheme, .target = spec.target, .options = {}};
  for (const std::string_view name : backend->way) {
    if (const StoreSpec::Option* option = spec.find(name)) address.options.push_back(*option);
  }
  return to_text(address);
}

absl::Status whole_blocks(uint64_t bytes, uint32_t block_size) {
  if (bytes % block_size == 0) return absl::OkStatus();
  const uint64_t below = bytes / block_size * block_size;
  return absl::InvalidArgumentError(absl::StrCat(
      bytes, " bytes is not a whole number of ", block_size, "-byte blocks; ",
      bytes % kBlockSizes[0] == 0 && block_size != kBlockSizes[0] ? "write \",bs=512\", or " : "",
      "make it ", below + block_size, below > 0 ? absl::StrCat(" or ", below) : "",
      " bytes large"));
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
    std::string options;
    for (const std::string_view option : backend->options) {
      absl::StrAppend(&options, "[,", view(option), "]");
    }
    absl::StrAppend(&options, "[,bs=512|4096]");
    absl::StrAppend(&text, view(backend->scheme), ":", view(backend->target));
    // What is too long for one line goes after the summary, in words that can be wrapped.
    if (options.size() <= kLongestOptions) {
      absl::StrAppend(&text, options, ": ", view(backend->summary), "\n");
    } else {
      absl::StrAppend(&text, "[,OPTION]...: ", view(backend->summary), "; OPTION: ");
      for (const std::string_view option : backend->options) {
        absl::StrAppend(&text, view(option), ", ");
      }
      absl::StrAppend(&text, "bs=512|4096\n");
    }
  }
  absl::StrAppend(&text, "A comma in PATH or NAME is written %2C, a percent sign %25.\n");
  return text;
}

uint32_t block_size_of(std::string_view spec, uint32_t otherwise) {
  const absl::StatusOr<StoreSpec> parsed = parse_spec(spec);
  const StoreSpec::Option* option = parsed.ok() ? parsed->find("bs") : nullptr;
  if (option == nullptr) return otherwise;
  const auto found = std::ranges::find(kBlockSizeOptions, "bs=" + option->value);
  if (found == std::end(kBlockSizeOptions)) return otherwise;
  return kBlockSizes[found - std::begin(kBlockSizeOptions)];
}

absl::Status check(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  return backend.ok() ? (*backend)->check(spec) : backend.status();
}

absl::Status check_there(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  return backend.ok() ? (*backend)->check_there(spec) : backend.status();
}

uint64_t memory_of(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  return backend.ok() ? (*backend)->memory(spec) : 0;
}

absl::StatusOr<std::shared_ptr<Volume>> open(std::string_view text, const OpenOptions& options) {
  Spec spec;
  const absl::StatusOr<const Backend*> backend = parse(text, options, spec);
  if (!backend.ok()) return backend.status();
  auto volume = (*backend)->open(spec);
  if (volume.ok() && (!(*backend)->way.empty() || spec.find("shared") != nullptr)) {
    (*volume)->set_shared();
  }
  return volume;
}

}  // namespace mrpool::storage
