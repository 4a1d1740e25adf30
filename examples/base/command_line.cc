#include "examples/base/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/exit_status.h"

namespace mrpool::base {
namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// How many letters must be put in, taken out or replaced to make one of the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// " (1 to 64, default 3)"; may be empty.
std::string range_and_default(const std::string& least, const std::string& most,
                              const std::string& now) {
  const std::string range = most.empty() ? "" : absl::StrCat(least, " to ", most);
  const std::string otherwise = now.empty() ? "" : absl::StrCat("default ", now);
  if (range.empty() && otherwise.empty()) return "";
  return absl::StrCat(" (", range, range.empty() || otherwise.empty() ? "" : ", ", otherwise, ")");
}

// The advice for an unknown option.
std::string nearest(std::string_view name, const std::vector<CommandLine::Option>& options) {
  constexpr size_t kFar = 3;
  const std::string* best = nullptr;
  size_t least = std::min(kFar, name.size());
  for (const CommandLine::Option& option : options) {
    const size_t steps = distance(name, option.name);
    if (steps < least) {
      least = steps;
      best = &option.name;
    }
  }
  if (best == nullptr) return "; see --help";
  return least == 0 ? "; write it after the command" : absl::StrCat("; is --", *best, " meant?");
}

// CLI11 reads from the back, and would take the next argument for the value of "--name=".
std::vector<std::string> for_cli11(std::span<const std::string> arguments) {
  std::vector<std::string> words;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    const bool empty = argument.starts_with("--") && equals + 1 == argument.size();
    words.push_back(empty ? argument.substr(0, equals) : argument);
    if (empty) words.emplace_back();
  }
  std::ranges::reverse(words);
  return words;
}

}  // namespace

std::string_view version() { return MRPOOL_VERSION; }

// What CLI11 made of the arguments: syntax only. Values are taken afterwards, in order.
struct CommandLine::Given {
  struct Occurrence {
    const Option* option;
    std::string value;
  };
  std::vector<Option> general;  // what every program has beside what CLI11 brings
  std::vector<Occurrence> options;
  std::optional<std::string> operand;

  bool has(std::string_view name) const {
    return std::ranges::any_of(options,
                               [&](const auto& each) { return each.option->name == name; });
  }

  void declare(CLI::App& app, const CommandLine& program) {
    app.allow_extras()->require_subcommand(0, 1);
    app.set_help_flag("-h,--help");
    if (!program.commands_.empty()) app.set_help_all_flag("--help-all");
    app.set_version_flag("--version");
    declare(app, general);
    declare_own(app, program);
    for (const auto& command : program.commands_) {
      declare_own(*app.add_subcommand(command->name_), *command);
    }
  }

 private:
  void declare_own(CLI::App& app, const CommandLine& command) {
    declare(app, command.options_);
    if (!command.operand_ || command.operand_->to == nullptr) return;
    app.add_option(command.operand_->placeholder, [this](const CLI::results_t& values) {
      operand = values.front();
      return true;
    });
  }
  void declare(CLI::App& app, const std::vector<Option>& table) {
    for (const Option& option : table) {
      const std::string name = absl::StrCat("--", option.name);
      if (option.placeholder.empty()) {
        app.add_flag_callback(name,
                              [this, &option] {
                                options.push_back({&option, {}});
                              })
            ->trigger_on_parse()
            ->disable_flag_override();
      } else {
        app.add_option(name,
                       [this, &option](const CLI::results_t& values) {
                         options.push_back({&option, values.front()});
                         return true;
                       })
            ->trigger_on_parse();
      }
    }
  }
};

CommandLine::CommandLine(std::string program, std::string summary)
    : CommandLine(std::move(program), "", std::move(summary), {}) {}

CommandLine::CommandLine(std::string program, std::string name, std::string summary,
                         std::function<int()> run)
    : program_(std::move(program)),
      name_(std::move(name)),
      summary_(std::move(summary)),
      run_(std::move(run)) {}

void CommandLine::declare(Option option) {
  option.section = section_;
  options_.push_back(std::move(option));
}

void CommandLine::operand(std::string placeholder, std::string help, std::string example,
                          std::string& to) {
  operand_ = {std::move(placeholder), std::move(help), std::move(example), &to};
}

void CommandLine::program_operand(std::string example, std::vector<std::string>& to) {
  operand_ = {"PROGRAM", "the program to run", std::move(example), nullptr, &to};
}

void CommandLine::option(std::string name, std::string placeholder, std::string help, Setter set) {
  declare({.section = {},
           .name = std::move(name),
           .placeholder = std::move(placeholder),
           .help = std::move(help),
           .set = std::move(set)});
}

void CommandLine::flag(std::string name, std::string help, bool& to, bool value) {
  option(std::move(name), "", std::move(help), [&to, value](std::string_view) {
    to = value;
    return absl::OkStatus();
  });
}

void CommandLine::text(std::string name, std::string placeholder, std::string help,
                       std::string& to) {
  if (!to.empty()) absl::StrAppend(&help, " (default ", to, ")");
  option(std::move(name), std::move(placeholder), std::move(help), [&to](std::string_view value) {
    to = value;
    return absl::OkStatus();
  });
}

void CommandLine::secret(std::string name, std::string placeholder, std::string help, Setter set) {
  option(std::move(name), std::move(placeholder), std::move(help), std::move(set));
  options_.back().secret = true;
}

void CommandLine::answer(std::string name, std::string help, std::function<std::string()> make) {
  option(std::move(name), "", std::move(help), [this, make = std::move(make)](std::string_view) {
    answer_ = make();
    return absl::OkStatus();
  });
}

void CommandLine::duration(std::string name, std::string help, std::chrono::nanoseconds& to,
                           DurationRange range) {
  help += range_and_default(format_duration(range.least),
                            range.most == DurationRange{}.most ? "" : format_duration(range.most),
                            to.count() == 0 ? "" : format_duration(to));
  option(std::move(name), range.forever ? "TIME|forever" : "TIME", std::move(help),
         [&to, range](std::string_view text) {
           const auto parsed = parse_duration(text, range);
           if (parsed.ok()) to = *parsed;
           return parsed.status();
         });
}

void CommandLine::count_of(std::string name, std::string help, uint64_t now, Range range,
                           bool shown, std::function<void(uint64_t)> set) {
  help += range_and_default(absl::StrCat(range.least), shown ? absl::StrCat(range.most) : "",
                            now == 0 ? "" : absl::StrCat(now));
  option(std::move(name), "N", std::move(help),
         [range, set = std::move(set)](std::string_view text) {
           const auto parsed = parse_count(text, range);
           if (parsed.ok()) set(*parsed);
           return parsed.status();
         });
}

void CommandLine::size_of(std::string name, std::string help, uint64_t now, Range range, bool shown,
                          std::function<void(uint64_t)> set) {
  help += range_and_default(exact_size(range.least), shown ? exact_size(range.most) : "",
                            now == 0 ? "" : exact_size(now));
  option(std::move(name), "SIZE", std::move(help),
         [range, set = std::move(set)](std::string_view text) {
           const auto parsed = parse_size(text, range);
           if (parsed.ok()) set(*parsed);
           return parsed.status();
         });
}

void CommandLine::choice_of(std::string name, std::string help, std::vector<std::string> names,
                            size_t now, std::function<void(size_t)> set) {
  constexpr size_t kOneLine = 80;
  std::string placeholder = absl::StrJoin(names, "|");
  if (placeholder.size() > kOneLine) {
    placeholder = "NAME";
    absl::StrAppend(&help, ": ", absl::StrJoin(names, ", "));
  }
  if (now < names.size()) absl::StrAppend(&help, " (default ", names[now], ")");
  option(std::move(name), std::move(placeholder), std::move(help),
         [names, set = std::move(set)](std::string_view text) {
           const auto found = std::ranges::find(names, text);
           if (found == names.end()) {
             return bad("'", view(text), "' is none of ", absl::StrJoin(names, ", "));
           }
           set(size_t(found - names.begin()));
           return absl::OkStatus();
         });
  options_.back().choices = std::move(names);
}

void CommandLine::excludes(std::string name, std::vector<std::string> others, std::string instead) {
  exclusions_.push_back({std::move(name), std::move(others), std::move(instead)});
}

CommandLine& CommandLine::command(std::string name, std::string summary, std::function<int()> run) {
  commands_.push_back(std::unique_ptr<CommandLine>(
      new CommandLine(program_, std::move(name), std::move(summary), std::move(run))));
  return *commands_.back();
}

// The options of every program in addition to CLI11's; help lists them all.
std::vector<CommandLine::Option> CommandLine::general() {
  return {{.section = {},
           .name = "completion",
           .placeholder = "bash|zsh|fish",
           .help = {},
           .choices = {"bash", "zsh", "fish"},
           .set = [this](std::string_view shell) {
             if (shell != "bash" && shell != "zsh" && shell != "fish") {
               return bad("'", view(shell), "' is none of bash, zsh, fish");
             }
             answer_ = completion(shell);
             return absl::OkStatus();
           }}};
}

// Takes the program and its arguments off the end; what remains is for this parser.
std::span<const std::string> CommandLine::own_part(std::span<const std::string> arguments) {
  if (!operand_ || operand_->program == nullptr) return arguments;
  const auto takes_next = [this](const std::string& word) {
    for (const std::vector<Option>& table : {options_, general()}) {
      for (const Option& option : table) {
        if (word != absl::StrCat("--", option.name)) continue;
        return !option.placeholder.empty() && option.implied.empty();
      }
    }
    return false;
  };
  size_t own = 0;
  while (own < arguments.size() && arguments[own].starts_with('-') && arguments[own] != "--") {
    own += takes_next(arguments[own]) ? 2 : 1;
  }
  own = std::min(own, arguments.size());
  const size_t rest = own < arguments.size() && arguments[own] == "--" ? own + 1 : own;
  operand_->program->assign(arguments.begin() + ptrdiff_t(rest), arguments.end());
  return arguments.first(own);
}

// "--name" as "--name=VALUE" where the option implies a value.
std::vector<std::string> CommandLine::with_implied(std::span<const std::string> arguments) const {
  std::vector<std::string> out(arguments.begin(), arguments.end());
  for (std::string& word : out) {
    for (const Option& option : options_) {
      if (option.implied.empty() || word != absl::StrCat("--", option.name)) continue;
      absl::StrAppend(&word, "=", option.implied);
      break;
    }
  }
  return out;
}

absl::Status CommandLine::parse(std::span<const std::string> all) {
  const std::vector<std::string> arguments = with_implied(own_part(all));
  Given given;
  given.general = general();
  CLI::App app(summary_, program_);
  given.declare(app, *this);
  std::vector<std::string> words = for_cli11(arguments);
  const auto chosen = [&]() -> CommandLine& {
    const std::vector<CLI::App*> parsed = app.get_subcommands();
    for (const auto& command : commands_) {
      if (!parsed.empty() && command->name_ == parsed.front()->get_name()) return *command;
    }
    return *this;
  };
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    answer_ = chosen().help();
    return absl::OkStatus();
  } catch (const CLI::CallForAllHelp&) {
    answer_ = help_all();
    return absl::OkStatus();
  } catch (const CLI::CallForVersion&) {
    answer_ = absl::StrCat(program_, " (mrpool) ", view(version()), "\n");
    return absl::OkStatus();
  } catch (const CLI::ParseError& error) {
    return chosen().explain(error.what());
  }
  for (const std::string& word : app.remaining(true)) {
    if (word != "--") return chosen().surplus(word, given);
  }
  if (&chosen() != this) chosen_ = &chosen();
  return apply(given);
}

// CLI11's two complaints about values, in our words. They begin with the option's name.
absl::Status CommandLine::explain(std::string_view complaint) {
  for (const std::vector<Option>& table : {options_, general()}) {
    for (const Option& option : table) {
      const std::string dashed = absl::StrCat("--", option.name);
      if (option.placeholder.empty()) {
        if (complaint.starts_with(absl::StrCat(option.name, " was given"))) {
          return bad(dashed, " takes no value");
        }
      } else if (complaint.starts_with(absl::StrCat(dashed, ": "))) {
        return bad(dashed, " needs a value: ", dashed, " ", option.placeholder);
      }
    }
  }
  return bad(view(complaint), "; see --help");
}

// An argument that nothing was declared for.
absl::Status CommandLine::surplus(std::string_view word, const Given& given) const {
  if (word.starts_with('-') && word != "-") {
    const std::string_view shown = word.substr(0, word.find('='));
    const std::string_view name =
        shown.substr(std::min(shown.find_first_not_of('-'), shown.size()));
    return bad("unknown option '", view(shown), "'", nearest(name, options_));
  }
  if (!commands_.empty()) {
    std::vector<std::string> names;
    for (const auto& command : commands_) names.push_back(command->name_);
    return bad("unknown command '", view(word), "'; there are ", absl::StrJoin(names, ", "));
  }
  // It may be the rest of a secret with a space in it.
  const bool hide = std::ranges::any_of(
      given.options, [](const Given::Occurrence& each) { return each.option->secret; });
  return bad("one argument too many", hide ? "" : absl::StrCat(": '", view(word), "'"),
             "; see --help");
}

absl::Status CommandLine::check_once(const Given& given) const {
  for (auto at = given.options.begin(); at != given.options.end(); ++at) {
    const Option& option = *at->option;
    const bool again = std::any_of(given.options.begin(), at,
                                   [&](const auto& before) { return before.option == &option; });
    if (again && !option.placeholder.empty() && !option.repeatable) {
      return bad("--", option.name, " is given more than once; leave all but one of them out");
    }
  }
  return absl::OkStatus();
}

absl::Status CommandLine::check_exclusions(const Given& given) const {
  for (const Exclusion& exclusion : exclusions_) {
    if (!given.has(exclusion.name)) continue;
    for (const std::string& other : exclusion.others) {
      if (!given.has(other)) continue;
      return bad("--", exclusion.name, " and --", other, " exclude each other; ",
                 exclusion.instead);
    }
  }
  return absl::OkStatus();
}

absl::Status CommandLine::apply(const Given& given) {
  if (absl::Status status = check_once(given); !status.ok()) return status;
  for (const CommandLine* each : {static_cast<const CommandLine*>(this), chosen_}) {
    if (each == nullptr) continue;
    if (absl::Status status = each->check_exclusions(given); !status.ok()) return status;
  }
  for (const auto& [option, value] : given.options) {
    const absl::Status status = option->set(value);
    if (!status.ok()) return bad("--", option->name, ": ", status.message());
    if (answer_) return absl::OkStatus();
  }
  const std::optional<Operand>& operand = chosen_ != nullptr ? chosen_->operand_ : operand_;
  const bool missing =
      operand && (operand->to != nullptr ? !given.operand : operand->program->empty());
  if (missing) {
    return bad(operand->placeholder, " is missing, ", operand->help, "; for example ",
               operand->example);
  }
  if (operand && operand->to != nullptr) *operand->to = *given.operand;
  return absl::OkStatus();
}

std::optional<int> CommandLine::begin(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (!commands_.empty() && arguments.empty()) {
    std::fputs(help().c_str(), stderr);
    return kExitUsage;
  }
  const absl::Status status = parse(arguments);
  if (!status.ok()) return fail(program_.c_str(), status);
  if (!answer_ && !commands_.empty() && chosen_ == nullptr) {
    return fail(program_.c_str(), bad("a command is missing; see --help"));
  }
  if (!answer_) return std::nullopt;
  std::fputs(answer_->c_str(), stdout);
  return end_of_output(program_.c_str(), kExitOk);
}

int CommandLine::run(int argc, char** argv) {
  if (const std::optional<int> status = begin(argc, argv)) return *status;
  return end_of_output(program_.c_str(), chosen_ != nullptr ? chosen_->run_() : kExitOk);
}

}  // namespace mrpool::base
