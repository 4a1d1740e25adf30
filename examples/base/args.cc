#include "examples/base/args.h"

#include <charconv>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/units.h"

namespace mrpool::load {
namespace {

absl::string_view absl_view(std::string_view text) { return {text.data(), text.size()}; }

template <typename T>
absl::Status parse_number(std::string_view text, T& out) {
  const char* end = text.data() + text.size();
  T value = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", absl_view(text), "' is not a whole number from 0 to ", std::numeric_limits<T>::max()));
  }
  out = value;
  return absl::OkStatus();
}

}  // namespace

void Args::option(std::string name, std::string placeholder, std::string help, Setter set) {
  options_.push_back({std::move(name), std::move(placeholder), std::move(help), std::move(set)});
}

void Args::value(std::string name, std::string placeholder, std::string help, std::string& out) {
  option(std::move(name), std::move(placeholder), std::move(help), [&out](std::string_view text) {
    out = text;
    return absl::OkStatus();
  });
}

void Args::value(std::string name, std::string placeholder, std::string help, uint32_t& out) {
  option(std::move(name), std::move(placeholder), std::move(help),
         [&out](std::string_view text) { return parse_number(text, out); });
}

void Args::value(std::string name, std::string placeholder, std::string help, uint64_t& out) {
  option(std::move(name), std::move(placeholder), std::move(help),
         [&out](std::string_view text) { return parse_number(text, out); });
}

void Args::flag(std::string name, std::string help, bool& out) {
  option(std::move(name), "", std::move(help), [&out](std::string_view) {
    out = true;
    return absl::OkStatus();
  });
}

void Args::size(std::string name, std::string help, uint64_t& out) {
  option(std::move(name), "SIZE", std::move(help), [&out](std::string_view text) {
    const absl::StatusOr<uint64_t> bytes = parse_size(text);
    if (bytes.ok()) out = *bytes;
    return bytes.status();
  });
}

void Args::size(std::string name, std::string help, uint32_t& out) {
  option(std::move(name), "SIZE", std::move(help), [&out](std::string_view text) -> absl::Status {
    const absl::StatusOr<uint64_t> bytes = parse_size(text);
    if (!bytes.ok()) return bytes.status();
    if (*bytes > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat("'", absl_view(text), "' is beyond 4GiB"));
    }
    out = uint32_t(*bytes);
    return absl::OkStatus();
  });
}

void Args::duration(std::string name, std::string help, std::chrono::nanoseconds& out) {
  option(std::move(name), "TIME", std::move(help), [&out](std::string_view text) {
    const auto parsed = parse_duration(text);
    if (parsed.ok()) out = *parsed;
    return parsed.status();
  });
}

void Args::choice(std::string name, std::vector<std::string> names, std::string help,
                  std::function<void(size_t)> set) {
  std::string placeholder = absl::StrJoin(names, "|");
  option(std::move(name), std::move(placeholder), std::move(help),
         [names = std::move(names), set = std::move(set)](std::string_view text) {
           for (size_t i = 0; i < names.size(); ++i) {
             if (names[i] == text) {
               set(i);
               return absl::OkStatus();
             }
           }
           return absl::InvalidArgumentError(
               absl::StrCat("'", absl_view(text), "' is none of ", absl::StrJoin(names, ", ")));
         });
}

const Args::Option* Args::find(std::string_view name) const {
  for (const Option& option : options_) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

absl::Status Args::parse(std::span<char* const> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      help_wanted_ = true;
      return absl::OkStatus();
    }
    if (!argument.starts_with("--")) {
      positional_.emplace_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(2, equals == argument.npos ? equals : equals - 2);
    const Option* option = find(name);
    if (option == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown option '--", absl_view(name), "' (see --help)"));
    }
    std::string_view text;
    if (equals != argument.npos) {
      text = argument.substr(equals + 1);
      if (option->placeholder.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("--", option->name, " takes no value"));
      }
    } else if (!option->placeholder.empty()) {
      if (i + 1 == arguments.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--", option->name, " needs a value: --",
                                                       option->name, " ", option->placeholder));
      }
      text = arguments[++i];
    }
    if (const absl::Status status = option->set(text); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--", option->name, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

std::string Args::help() const {
  std::string text = absl::StrCat("usage: ", usage_, "\n\noptions:\n");
  for (const Option& option : options_) {
    std::string left = absl::StrCat("  --", option.name);
    if (!option.placeholder.empty()) absl::StrAppend(&left, " ", option.placeholder);
    if (left.size() < 26) {
      left.resize(26, ' ');
    } else {
      left += "\n" + std::string(26, ' ');
    }
    absl::StrAppend(&text, left, option.help, "\n");
  }
  if (!epilogue_.empty()) absl::StrAppend(&text, "\n", epilogue_);
  return text;
}

}  // namespace mrpool::load
