// Command lines: every option is declared once, with its name, its type and its help. The parser,
// --help, --version, the man page and the shells' completions all come from that.
//
//   CommandLine program("mrpool-nvmf", "an NVMe-oF/RDMA host in userspace");
//   CommandLine& perf = program.command("perf", "generate load", [&] { return run(options); });
//   perf.operand("ADDRESS", "where the target is", "uiwarp://127.0.0.1:4420", options.address);
//   perf.size("bs", "bytes of one I/O", options.bs);   // "--bs 4k" or "--bs=4k"
//   perf.flag("spin", "poll without sleeping", options.spin);
//   return program.run(argc, argv);
//
// Help shows the default, which is what the variable holds when the option is declared, and the
// range; neither is written twice. Options take effect in the order of the command line, so that a
// setter may look at what was set before. One that has a value is given once, unless it is declared
// repeatable(): no value is overridden in silence.
//
// Errors are InvalidArgument and name the option, the value and what to write instead. The values
// of secrets are never shown.
//
// Ownership: the variables that options write to are the caller's and must outlive parse(); a
// CommandLine owns its commands. Thread safety: distinct objects: safe.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/base/units.h"

namespace mrpool::base {

// The version of this project, "0.1.0".
std::string_view version();

class CommandLine {
 public:
  // Takes the value; a refusal names the fault and what to write.
  using Setter = std::function<absl::Status(std::string_view)>;
  struct Option {
    std::string section;
    std::string name;         // without the dashes
    std::string placeholder;  // empty: a flag
    std::string help;         // with range and default
    std::vector<std::string> choices{};
    bool secret = false;
    bool repeatable = false;
    std::string implied{};  // the value of "--name" alone; empty: the value has to be there
    Setter set{};
  };
  struct Operand {
    std::string placeholder;
    std::string help;
    std::string example;
    std::string* to = nullptr;
    std::vector<std::string>* program = nullptr;  // instead of `to`: PROGRAM and its arguments
  };

  CommandLine(std::string program, std::string summary);
  CommandLine(CommandLine&&) = delete;

  // The heading over the options declared from here on.
  void section(std::string title) { section_ = std::move(title); }
  // What help ends with: paragraphs, and commands to copy, each in a line as "  $ program ...".
  void notes(std::string text) { notes_ = std::move(text); }
  void examples(std::string text) { examples_ = std::move(text); }
  // The options that a usage line shows, as "--subnqn NQN".
  void required(std::string usage) { required_ = std::move(usage); }
  // The one argument without a name, which has to be there.
  void operand(std::string placeholder, std::string help, std::string example, std::string& to);
  // Another program and its arguments; required. Everything from the first argument on that is not
  // an option, or after "--", goes to `to` unchanged.
  void program_operand(std::string example, std::vector<std::string>& to);

  void flag(std::string name, std::string help, bool& to, bool value = true);
  void text(std::string name, std::string placeholder, std::string help, std::string& to);
  void secret(std::string name, std::string placeholder, std::string help, Setter set);
  template <std::unsigned_integral T>
  void count(std::string name, std::string help, T& to, Range range = {}) {
    count_of(std::move(name), std::move(help), to, within<T>(range), bounds<T>(range),
             [&to](uint64_t value) { to = T(value); });
  }
  template <std::unsigned_integral T>
  void count(std::string name, std::string help, std::optional<T>& to, Range range = {}) {
    count_of(std::move(name), std::move(help), to.value_or(0), within<T>(range), bounds<T>(range),
             [&to](uint64_t value) { to = T(value); });
  }
  template <std::unsigned_integral T>
  void size(std::string name, std::string help, T& to, Range range = {}) {
    size_of(std::move(name), std::move(help), to, within<T>(range), bounds<T>(range),
            [&to](uint64_t value) { to = T(value); });
  }
  void duration(std::string name, std::string help, std::chrono::nanoseconds& to,
                DurationRange range = {});
  template <typename T>
  void choice(std::string name, std::string help, T& to,
              std::vector<std::pair<std::string, T>> values) {
    std::vector<std::string> names;
    size_t now = values.size();
    for (size_t i = 0; i < values.size(); ++i) {
      names.push_back(values[i].first);
      if (values[i].second == to) now = i;
    }
    choice_of(std::move(name), std::move(help), std::move(names), now,
              [&to, values = std::move(values)](size_t i) { to = values[i].second; });
  }
  // Prints what `make` returns instead of running.
  void answer(std::string name, std::string help, std::function<std::string()> make);
  // The option declared last may be given several times; its setter adds.
  void repeatable() { options_.back().repeatable = true; }
  // `name` and any of `others` exclude each other; `instead` ends the refusal, with what to do.
  void excludes(std::string name, std::vector<std::string> others, std::string instead);
  // The option declared last may be given as "--name" alone, which means that value; "--name=VALUE"
  // gives another.
  void implies(std::string value) { options_.back().implied = std::move(value); }
  // What none of these is: `placeholder` is FILE or DIR where completion should offer files.
  void option(std::string name, std::string placeholder, std::string help, Setter set);

  // A command, whose options are declared on the result. run() calls `run` for it.
  CommandLine& command(std::string name, std::string summary, std::function<int()> run = {});

  // Sets the variables by the arguments, which come without the program's name.
  [[nodiscard]] absl::Status parse(std::span<const std::string> all);
  // After parse(): what to print instead of running, as for --help and --version.
  const std::optional<std::string>& answer() const { return answer_; }
  // After parse(): the command that was named; null where there are none.
  const CommandLine* chosen() const { return chosen_; }

  // parse() for a main(): nothing when the program is to go on, else its exit status; by then the
  // answer, or the error on stderr, is printed.
  [[nodiscard]] std::optional<int> begin(int argc, char** argv);
  // begin(), then the command that was named.
  [[nodiscard]] int run(int argc, char** argv);

  std::string help() const;
  // Of this program and all its commands.
  std::string help_all() const;
  // A script for "bash", "zsh" or "fish".
  std::string completion(std::string_view shell) const;

  const std::string& program() const { return program_; }
  const std::string& name() const { return name_; }  // of a command; empty: the program itself
  const std::string& summary() const { return summary_; }
  const std::vector<Option>& options() const { return options_; }
  const std::optional<Operand>& operand() const { return operand_; }
  const std::vector<std::unique_ptr<CommandLine>>& commands() const { return commands_; }

 private:
  struct Given;  // the parser's side, with what it found
  // Limits of the type are none to speak of.
  template <typename T>
  static constexpr bool bounds(Range range) {
    return range.most < std::numeric_limits<T>::max();
  }
  template <typename T>
  static constexpr Range within(Range range) {
    return bounds<T>(range) ? range : Range{range.least, std::numeric_limits<T>::max()};
  }
  void count_of(std::string name, std::string help, uint64_t now, Range range, bool shown,
                std::function<void(uint64_t)> set);
  void size_of(std::string name, std::string help, uint64_t now, Range range, bool shown,
               std::function<void(uint64_t)> set);
  void choice_of(std::string name, std::string help, std::vector<std::string> names, size_t now,
                 std::function<void(size_t)> set);
  void declare(Option option);
  std::span<const std::string> own_part(std::span<const std::string> arguments);
  std::vector<std::string> with_implied(std::span<const std::string> arguments) const;
  absl::Status apply(const Given& given);
  absl::Status check_once(const Given& given) const;
  absl::Status check_exclusions(const Given& given) const;
  absl::Status explain(std::string_view complaint);
  absl::Status surplus(std::string_view word, const Given& given) const;
  std::string usage() const;
  std::string options_help() const;
  std::string begin_help() const;
  std::string end_help() const;
  bool takes(std::string_view placeholder) const;
  std::vector<Option> general();

  const std::string program_;
  const std::string name_;
  const std::string summary_;
  std::string section_ = "Options";
  std::string required_;
  std::string notes_;
  std::string examples_;
  std::vector<Option> options_;
  struct Exclusion {
    std::string name;
    std::vector<std::string> others;
    std::string instead;
  };
  std::vector<Exclusion> exclusions_;
  std::optional<Operand> operand_;
  std::vector<std::unique_ptr<CommandLine>> commands_;
  std::function<int()> run_;
  std::optional<std::string> answer_;
  const CommandLine* chosen_ = nullptr;

  CommandLine(std::string program, std::string name, std::string summary, std::function<int()> run);
};

}  // namespace mrpool::base
