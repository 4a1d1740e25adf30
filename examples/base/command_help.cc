// The text of --help and --help-all, in the form that help2man reads.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/command_line.h"

namespace mrpool::base {
namespace {

constexpr size_t kLine = 100;
constexpr size_t kHelpColumn = 26;

// `text` in lines of at most kLine, all but the first indented to `column`. Its own line ends stay.
std::string wrapped(std::string text, size_t column) {
  while (text.ends_with('\n')) text.pop_back();
  const std::string line_end = "\n" + std::string(column, ' ');
  std::string out;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    if (!out.empty()) out += line_end;
    size_t used = column;
    for (const std::string& word : std::vector<std::string>(absl::StrSplit(line, ' '))) {
      if (used > column && used + 1 + word.size() > kLine) {
        out += line_end;
        used = column;
      } else if (used > column) {
        out += ' ';
        ++used;
      }
      out += word;
      used += word.size();
    }
  }
  return out;
}

std::string entry(std::string left, const std::string& help) {
  left.insert(0, "  ");
  if (left.size() + 2 <= kHelpColumn) {
    left.resize(kHelpColumn, ' ');
  } else {
    left += "\n" + std::string(kHelpColumn, ' ');
  }
  return absl::StrCat(left, wrapped(help, kHelpColumn), "\n");
}

std::string entry(const CommandLine::Option& option) {
  if (!option.implied.empty()) {
    return entry(absl::StrCat("--", option.name, "[=", option.placeholder, "]"), option.help);
  }
  return entry(
      absl::StrCat("--", option.name, option.placeholder.empty() ? "" : " ", option.placeholder),
      option.help);
}

}  // namespace

std::string CommandLine::usage() const {
  std::string text = program_;
  if (!commands_.empty()) return text + " COMMAND [options]";
  if (!name_.empty()) absl::StrAppend(&text, " ", name_);
  // What follows the program is the program's.
  if (operand_ && operand_->program != nullptr) {
    return absl::StrCat(text, " [options] ", operand_->placeholder, " [ARGUMENT...]");
  }
  if (operand_) absl::StrAppend(&text, " ", operand_->placeholder);
  if (!required_.empty()) absl::StrAppend(&text, " ", required_);
  return text + " [options]";
}

std::string CommandLine::options_help() const {
  std::string text;
  if (operand_) text += entry(operand_->placeholder, operand_->help) + "\n";
  const std::string* section = nullptr;
  for (const Option& option : options_) {
    if (section == nullptr || *section != option.section) {
      absl::StrAppend(&text, section == nullptr ? "" : "\n", option.section, ":\n");
      section = &option.section;
    }
    text += entry(option);
  }
  return text;
}

std::string CommandLine::begin_help() const {
  std::string text = absl::StrCat("Usage: ", usage(), "\n\n", wrapped(summary_, 0), "\n\n");
  if (!commands_.empty()) {
    text += "Commands:\n";
    for (const auto& command : commands_) text += entry(command->name_, command->summary_);
    text += "\n";
  }
  text += options_help();
  if (!name_.empty()) return text;
  const bool bare = commands_.empty();
  absl::StrAppend(
      &text, options_.empty() ? "" : "\n", "General options:\n",
      entry("-h, --help", bare ? "print this" : "print this, or the options of a command"));
  if (!bare) text += entry("--help-all", "print the options of every command");
  text += entry("--version", "print the version");
  text += entry("--completion bash|zsh|fish", "print a completion script for that shell");
  return text;
}

// Whether an option of this program, or of its commands, takes such a value.
bool CommandLine::takes(std::string_view placeholder) const {
  return std::ranges::any_of(
             options_,
             [&](const Option& option) { return option.placeholder.starts_with(placeholder); }) ||
         std::ranges::any_of(commands_,
                             [&](const auto& command) { return command->takes(placeholder); });
}

std::string CommandLine::end_help() const {
  std::string text;
  if (takes("SIZE") || takes("TIME")) text += "\nValues:\n";
  if (takes("SIZE")) {
    text += entry("SIZE",
                  "bytes, or a number with a unit: 4k, 64M, 64MiB and 1T are powers of 1024, "
                  "64kB and 64MB of 1000");
  }
  if (takes("TIME")) text += entry("TIME", "seconds, or a number with a unit: 50us, 500ms, 2m, 1h");
  if (!notes_.empty()) absl::StrAppend(&text, "\n", notes_);
  if (!examples_.empty()) absl::StrAppend(&text, "\nExamples:\n", examples_);
  return text;
}

std::string CommandLine::help() const { return begin_help() + end_help(); }

std::string CommandLine::help_all() const {
  std::string text = begin_help();
  for (const auto& command : commands_) {
    absl::StrAppend(&text, "\n", command->usage(), ":\n  ", wrapped(command->summary_, 2), "\n\n",
                    command->options_help());
    // help2man would take a heading for the section at the end of the page.
    if (!command->notes_.empty()) absl::StrAppend(&text, "\n", command->notes_);
    if (!command->examples_.empty()) absl::StrAppend(&text, "\n", command->examples_);
  }
  return text + end_help();
}

}  // namespace mrpool::base
