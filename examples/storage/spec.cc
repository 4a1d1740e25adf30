#include "examples/storage/spec.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mrpool::storage {
namespace {

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// Appends what `text` stands for to `plain`; an error is the end of a sentence.
std::string decode(std::string_view text, std::string& plain) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    if (text.size() - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) {
      return absl::StrCat("\"", std::string(text.substr(i, 3)),
                          "\" is not an escape; write %25 for a percent sign and %2C for a comma");
    }
    const std::string byte = absl::HexStringToBytes(std::string(text.substr(i + 1, 2)));
    if (byte[0] == '\0') return "%00 cannot be part of a name";
    plain += byte;
    i += 2;
  }
  return {};
}

}  // namespace

const StoreSpec::Option* StoreSpec::find(std::string_view name) const {
  const auto at = std::ranges::find(options, name, &Option::name);
  return at == options.end() ? nullptr : &*at;
}

absl::StatusOr<StoreSpec> parse_spec(std::string_view text) {
  const auto bad = [text](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text), "\": ", std::string(why)));
  };
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return bad("names no storage; write KIND:WHAT, as ram:64MiB or file:/srv/disk.img");
  }
  if (text.find('\0') != std::string_view::npos) return bad("contains a zero byte");
  StoreSpec spec;
  spec.scheme = std::string(text.substr(0, colon));
  const std::vector<std::string> parts = absl::StrSplit(std::string(text.substr(colon + 1)), ',');
  if (std::string why = decode(parts[0], spec.target); !why.empty()) return bad(why);
  for (size_t i = 1; i < parts.size(); ++i) {
    StoreSpec::Option option;
    const size_t equals = parts[i].find('=');
    option.name = parts[i].substr(0, equals);
    if (option.name.empty()) return bad("an option is empty; write %2C for a comma in a name");
    if (spec.find(option.name) != nullptr) {
      return bad(absl::StrCat("option \"", option.name, "\" is given twice"));
    }
    option.has_value = equals != std::string::npos;
    if (option.has_value) {
      std::string why = decode(std::string_view(parts[i]).substr(equals + 1), option.value);
      if (!why.empty()) return bad(why);
    }
    spec.options.push_back(std::move(option));
  }
  return spec;
}

absl::StatusOr<std::vector<StoreSpec::Option>> take_options(
    std::string& text, std::span<const std::string_view> names) {
  absl::StatusOr<StoreSpec> spec = parse_spec(text);
  if (!spec.ok()) return spec.status();
  std::vector<StoreSpec::Option> taken;
  std::vector<StoreSpec::Option> kept;
  for (StoreSpec::Option& option : spec->options) {
    const bool wanted = std::ranges::find(names, option.name) != names.end();
    if (wanted && option.value.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": option \"", option.name,
                                                     "\" needs a value, as ", option.name, "=..."));
    }
    (wanted ? taken : kept).push_back(std::move(option));
  }
  if (taken.empty()) return taken;
  spec->options = std::move(kept);
  text = to_text(*spec);
  return taken;
}

std::string escape(std::string_view plain) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const char c : plain) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte != 0x7f && c != ',' && c != '=' && c != '%' && c != '"') {
      text += c;
      continue;
    }
    text += '%';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string to_text(const StoreSpec& spec) {
  std::string text = absl::StrCat(spec.scheme, ":", escape(spec.target));
  for (const StoreSpec::Option& option : spec.options) {
    absl::StrAppend(&text, ",", option.name);
    if (option.has_value) absl::StrAppend(&text, "=", escape(option.value));
  }
  return text;
}

}  // namespace mrpool::storage
