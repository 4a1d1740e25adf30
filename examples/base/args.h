// Command lines with subcommands: options that are declared once, with their help.
//
//   Args args("mrpool-nvmf perf ADDRESS [options]");
//   args.value("bs", "SIZE", "block size", options.bs);         // "--bs 4k" or "--bs=4k"
//   args.flag("spin", "poll without sleeping", options.spin);   // "--spin"
//   absl::Status status = args.parse({argv + 2, argv + argc});  // args.positional()
//
// An option may be declared with a setter of its own where the value needs more checks than its
// type. Later occurrences of an option win.
//
// Ownership: the variables options write to are the caller's and must outlive parse().
// Thread safety: distinct objects: safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::load {

class Args {
 public:
  using Setter = std::function<absl::Status(std::string_view)>;

  explicit Args(std::string usage) : usage_(std::move(usage)) {}

  void option(std::string name, std::string placeholder, std::string help, Setter set);
  void value(std::string name, std::string placeholder, std::string help, std::string& out);
  void value(std::string name, std::string placeholder, std::string help, uint32_t& out);
  void value(std::string name, std::string placeholder, std::string help, uint64_t& out);
  void flag(std::string name, std::string help, bool& out);
  void size(std::string name, std::string help, uint64_t& out);
  void size(std::string name, std::string help, uint32_t& out);
  void duration(std::string name, std::string help, std::chrono::nanoseconds& out);
  // One of `names`; `out` becomes its index.
  void choice(std::string name, std::vector<std::string> names, std::string help,
              std::function<void(size_t)> set);
  // A paragraph under the options, for examples.
  void epilogue(std::string text) { epilogue_ = std::move(text); }

  // InvalidArgument names the option and what is wrong with it. "--help" sets help_wanted().
  [[nodiscard]] absl::Status parse(std::span<char* const> arguments);
  const std::vector<std::string>& positional() const { return positional_; }
  bool help_wanted() const { return help_wanted_; }
  std::string help() const;

 private:
  struct Option {
    std::string name;
    std::string placeholder;  // empty: a flag
    std::string help;
    Setter set;
  };
  const Option* find(std::string_view name) const;

  std::string usage_;
  std::string epilogue_;
  std::vector<Option> options_;
  std::vector<std::string> positional_;
  bool help_wanted_ = false;
};

}  // namespace mrpool::load
