// Completion scripts: what a command line declares, in the words of three shells.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "examples/base/command_line.h"

namespace mrpool::base {
namespace {

using Option = CommandLine::Option;

// The options of every program in addition to those that it declares.
std::string general(const CommandLine& program) {
  return absl::StrCat("--help ", program.commands().empty() ? "" : "--help-all ",
                      "--version --completion");
}

bool names_file(const Option& option) { return option.placeholder == "FILE"; }
bool names_folder(const Option& option) { return option.placeholder == "DIR"; }

// The first line of the help.
std::string summary(const Option& option) { return option.help.substr(0, option.help.find('\n')); }

bool runs_program(const CommandLine& program) {
  return program.operand() && program.operand()->program != nullptr;
}

std::string identifier(const std::string& program) {
  return absl::StrCat("_", absl::StrReplaceAll(program, {{"-", "_"}}));
}

std::string dashed(const std::vector<Option>& options) {
  std::vector<std::string> names;
  for (const Option& option : options) names.push_back("--" + option.name);
  return absl::StrJoin(names, " ");
}

// In single quotes of any of the shells.
std::string quoted(std::string text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// --- bash ---

// "case" lines for what comes after an option that takes a value.
std::string bash_values(const CommandLine& command, const std::string& where) {
  std::string text;
  for (const Option& option : command.options()) {
    if (option.placeholder.empty()) continue;
    std::string words = "return";
    if (!option.choices.empty()) {
      words = absl::StrCat("COMPREPLY=($(compgen -W ", quoted(absl::StrJoin(option.choices, " ")),
                           " -- \"$cur\")); return");
    } else if (names_file(option)) {
      words = "COMPREPLY=($(compgen -f -- \"$cur\")); return";
    } else if (names_folder(option)) {
      words = "COMPREPLY=($(compgen -d -- \"$cur\")); return";
    }
    absl::StrAppend(&text, "    ", where, "--", option.name, ") ", words, " ;;\n");
  }
  return text;
}

std::string bash(const CommandLine& program) {
  const std::string function = identifier(program.program());
  std::vector<std::string> commands;
  for (const auto& command : program.commands()) commands.push_back(command->name());
  std::string values = bash_values(program, ":");
  std::string words = absl::StrCat("    '') words='", absl::StrJoin(commands, " "), " ",
                                   dashed(program.options()), " ", general(program), "' ;;\n");
  for (const auto& command : program.commands()) {
    values += bash_values(*command, command->name() + ":");
    absl::StrAppend(&words, "    ", command->name(), ") words='", dashed(command->options()),
                    " --help' ;;\n");
  }
  return absl::StrCat(
      "# bash completion of ", program.program(), "\n", function,
      "() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' words\n"
      "  [[ $cur == '=' ]] && cur=''\n"
      "  [[ $prev == '=' ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}\n",
      commands.empty() ? "" : "  ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}\n",
      "  COMPREPLY=()\n"
      "  case $command:$prev in\n",
      values,
      "    :--completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")); return ;;\n"
      "  esac\n"
      "  case $command in\n",
      words,
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n",
      runs_program(program) ? "  [[ $cur == -* ]] || COMPREPLY=($(compgen -c -- \"$cur\"))\n" : "",
      "}\n"
      "complete -F ",
      function, " ", program.program(), "\n");
}

// --- zsh ---

std::string zsh_option(const Option& option) {
  const std::string help =
      absl::StrReplaceAll(summary(option), {{"[", "("}, {"]", ")"}, {":", "\\:"}});
  std::string spec =
      absl::StrCat("--", option.name, option.placeholder.empty() ? "" : "=", "[", help, "]");
  if (!option.placeholder.empty()) {
    absl::StrAppend(&spec, ":", absl::StrReplaceAll(option.placeholder, {{":", "\\:"}}), ":");
    if (!option.choices.empty()) {
      absl::StrAppend(&spec, "(", absl::StrJoin(option.choices, " "), ")");
    } else if (names_file(option)) {
      spec += "_files";
    } else if (names_folder(option)) {
      spec += "_files -/";
    }
  }
  // Given as often as the user likes.
  return quoted("*" + spec);
}

std::string zsh_arguments(const CommandLine& command, const char* indent) {
  std::string text = absl::StrCat(indent, "_arguments '--help[print help]'");
  if (command.name().empty()) {
    if (!command.commands().empty()) text += " '--help-all[print all help]'";
    text +=
        " '--version[print the version]' '--completion=[completion script]:shell:(bash zsh "
        "fish)'";
  }
  for (const Option& option : command.options()) {
    absl::StrAppend(&text, " \\\n", indent, "  ", zsh_option(option));
  }
  if (runs_program(command)) {
    absl::StrAppend(&text, " \\\n", indent,
                    "  '(-):program:_command_names -e' '*::argument:_normal'");
  } else if (command.operand()) {
    absl::StrAppend(&text, " \\\n", indent, "  ",
                    quoted(absl::StrCat(":", command.operand()->placeholder, ":")));
  }
  return text + "\n";
}

std::string zsh(const CommandLine& program) {
  const std::string function = identifier(program.program());
  std::string text = absl::StrCat("#compdef ", program.program(), "\n", function, "() {\n");
  if (program.commands().empty()) {
    text += zsh_arguments(program, "  ");
  } else {
    std::vector<std::string> commands;
    for (const auto& command : program.commands()) {
      commands.push_back(quoted(absl::StrCat(command->name(), ":", command->summary())));
    }
    absl::StrAppend(&text,
                    "  if ((CURRENT == 2)); then\n"
                    "    local -a commands=(",
                    absl::StrJoin(commands, " "),
                    ")\n"
                    "    _describe command commands\n",
                    zsh_arguments(program, "    "),
                    "    return\n"
                    "  fi\n"
                    "  local command=$words[2]\n"
                    "  shift words\n"
                    "  ((CURRENT--))\n"
                    "  case $command in\n");
    for (const auto& command : program.commands()) {
      absl::StrAppend(&text, "    ", command->name(), ")\n", zsh_arguments(*command, "      "),
                      "      ;;\n");
    }
    text += "  esac\n";
  }
  return absl::StrCat(text, "}\nif [[ $funcstack[1] == ", function, " ]]; then\n  ", function,
                      " \"$@\"\nelse\n  compdef ", function, " ", program.program(), "\nfi\n");
}

// --- fish ---

std::string fish_quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

std::string fish_options(const CommandLine& command, const std::string& begin) {
  std::string text;
  for (const Option& option : command.options()) {
    absl::StrAppend(&text, begin, " -l ", option.name);
    if (!option.placeholder.empty()) {
      text += names_file(option) || names_folder(option) ? " -r -F" : " -x";
    }
    if (!option.choices.empty()) {
      absl::StrAppend(&text, " -a ", fish_quoted(absl::StrJoin(option.choices, " ")));
    }
    absl::StrAppend(&text, " -d ", fish_quoted(summary(option)), "\n");
  }
  return text;
}

std::string fish(const CommandLine& program) {
  const std::string complete = absl::StrCat("complete -c ", program.program());
  const bool bare = program.commands().empty();
  const std::string first = bare ? complete : complete + " -n __fish_use_subcommand";
  std::string text = absl::StrCat(complete, " -f\n", complete, " -l help -d 'print help'\n",
                                  bare ? "" : first + " -l help-all -d 'print all help'\n", first,
                                  " -l version -d 'print the version'\n", first,
                                  " -l completion -x -a 'bash zsh fish' -d 'completion script'\n",
                                  fish_options(program, first));
  if (runs_program(program)) text += complete + " -x -a '(__fish_complete_subcommand)'\n";
  for (const auto& command : program.commands()) {
    absl::StrAppend(
        &text, first, " -a ", command->name(), " -d ", fish_quoted(command->summary()), "\n",
        fish_options(*command, absl::StrCat(complete, " -n '__fish_seen_subcommand_from ",
                                            command->name(), "'")));
  }
  return text;
}

}  // namespace

std::string CommandLine::completion(std::string_view shell) const {
  return shell == "bash" ? bash(*this) : shell == "zsh" ? zsh(*this) : fish(*this);
}

}  // namespace mrpool::base
