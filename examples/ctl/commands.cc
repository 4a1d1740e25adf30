#include "examples/ctl/commands.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "examples/base/exit_status.h"
#include "examples/base/json_print.h"
#include "examples/base/json_text.h"
#include "examples/base/printable.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

// Shows on a terminal that the command still waits; prints nothing into a log.
void show_waiting(std::string_view method, std::chrono::seconds seconds) {
  if (::isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r%s: %.*s: %lld s ", kProgram, int(method.size()), method.data(),
               static_cast<long long>(seconds.count()));
  std::fflush(stderr);
}

// The daemon names its methods; this program has commands for them.
absl::Status in_own_words(const absl::Status& status) {
  return absl::Status(
      status.code(),
      absl::StrReplaceAll(status.message(),
                          {{"bdev_get_bdevs", "`mrpool-ctl store list`"},
                           {"bdev_aio_rescan", "`mrpool-ctl store resize` without --size"},
                           {"keyring_get_keys", "`mrpool-ctl call keyring_get_keys`"},
                           {"nvmf_discovery_get_referrals", "`mrpool-ctl referral list`"},
                           {"nvmf_get_subsystems", "`mrpool-ctl subsystem list`"},
                           {"iscsi_get_target_nodes", "`mrpool-ctl target list`"},
                           {"mrpool_store_delete", "`mrpool-ctl store delete`"},
                           {"rpc_get_methods", "`mrpool-ctl methods`"}}));
}

}  // namespace

absl::StatusOr<json::value> Conversation::ask(std::string_view method,
                                              const json::object& parameters) {
  if (client_ == nullptr) {
    const auto path = choose_socket(options_.socket, kind_, "/run");
    if (!path.ok()) return path.status();
    auto client = Client::connect(*path);
    if (!client.ok()) return client.status();
    client_ = std::make_unique<Client>(*std::move(client));
    client_->timeout = std::chrono::ceil<std::chrono::milliseconds>(options_.timeout);
  }
  bool shown = false;
  client_->waiting = [&](std::chrono::seconds seconds) {
    show_waiting(method, seconds);
    shown = true;
  };
  auto answer = client_->call(method, parameters);
  if (shown && ::isatty(STDERR_FILENO) != 0) std::fputs("\n", stderr);
  if (absl::IsUnimplemented(answer.status())) return explain_unknown(answer.status());
  return answer;
}

// The daemon has no such method, perhaps because it is the other one.
absl::Status Conversation::explain_unknown(const absl::Status& unknown) {
  const std::string wanted = absl::StrCat("mrpool-", kind_, "-target");
  const auto version = client_->call("spdk_get_version", {});
  const std::string daemon = version.ok() ? shown(*version, "version") : std::string();
  if (kind_.empty() || !daemon.starts_with("mrpool-") || daemon.starts_with(wanted)) {
    return absl::InvalidArgumentError(unknown.message());
  }
  return absl::InvalidArgumentError(absl::StrCat("this is the socket of ",
                                                 daemon.substr(0, daemon.find(' ')),
                                                 "; write --socket with the one of ", wanted));
}

absl::Status Conversation::print(const json::value& answer, std::string_view text) const {
  const std::string all = options_.json ? base::print_json(answer) : std::string(text);
  std::fputs(all.c_str(), stdout);
  return absl::OkStatus();
}

absl::Status Conversation::change(std::string_view method, const json::object& parameters,
                                  std::string_view what) {
  const auto answer = ask(method, parameters);
  if (!answer.ok()) return answer.status();
  return print(*answer, absl::StrCat(base::printable(what), "\n"));
}

base::CommandLine& Commands::add(std::string name, std::string summary, std::string_view kind,
                                 Run run) {
  const bool raw = name == "call";
  base::CommandLine& command = program_.command(
      std::move(name), std::move(summary), [this, kind, raw, run = std::move(run)] {
        Conversation conversation(options_, kind);
        const absl::Status status = run(conversation);
        if (status.ok()) return base::kExitOk;
        return base::fail(kProgram, raw ? status : in_own_words(status));
      });
  command.section("Connection and output");
  command.text("socket", "PATH", "the daemon's control socket (default: the one below /run)",
               options_.socket);
  command.duration("timeout", "how long to wait for an answer", options_.timeout,
                   {.least = std::chrono::milliseconds(1)});
  command.flag("json", "print the answer as JSON", options_.json);
  command.section("Options");
  return command;
}

void move_options_back(std::vector<std::string>& arguments) {
  auto command = arguments.begin();
  while (command != arguments.end()) {
    const bool has_value = *command == "--socket" || *command == "--timeout";
    if (!has_value && *command != "--json" && !command->starts_with("--socket=") &&
        !command->starts_with("--timeout=")) {
      break;
    }
    if (arguments.end() - command < (has_value ? 2 : 1)) return;
    command += has_value ? 2 : 1;
  }
  std::rotate(arguments.begin(), command, arguments.end());
}

void join_words(const base::CommandLine& program, std::vector<std::string>& arguments) {
  if (arguments.size() < 2 || arguments[1].starts_with('-')) return;
  const std::string joined = arguments[0] + "-" + arguments[1];
  const bool known = std::ranges::any_of(
      program.commands(), [&](const auto& command) { return command->name() == joined; });
  if (!known) return;
  arguments[0] = joined;
  arguments.erase(arguments.begin() + 1);
}

namespace {

absl::StatusOr<json::object> parse_parameters(const std::string& text) {
  if (text.empty()) return json::object();
  const auto parsed = base::parse_json_text(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--params: ", parsed.status().message()));
  }
  if (!parsed->value.is_object()) {
    return absl::InvalidArgumentError("--params: must be a JSON object, as '{\"name\": \"disk\"}'");
  }
  return parsed->value.as_object();
}

absl::Status print_methods(Conversation& conversation) {
  const auto answer = conversation.ask("mrpool_get_schema");
  if (!answer.ok()) return answer.status();
  Table table({"METHOD", "PARAMETERS", "DESCRIPTION"});
  const json::array* methods = answer->if_array();
  for (const json::value& method : methods != nullptr ? *methods : list(*answer, "methods")) {
    std::string parameters;
    for (const json::value& each : list(method, "params")) {
      const bool required = shown(each, "required") == "yes";
      absl::StrAppend(&parameters, parameters.empty() ? "" : " ", required ? "" : "[",
                      shown(each, "name"), required ? "" : "]");
    }
    table.row({shown(method, "name"), parameters, shown(method, "description")});
  }
  return conversation.print(*answer, table.text());
}

}  // namespace

void add_daemon(Commands& commands) {
  struct Raw {
    std::string method, parameters, level, file;
  };
  const auto raw = std::make_shared<Raw>();
  base::CommandLine& log = commands.add(
      "log-level", "set the level of the daemon's log", "", [raw](Conversation& conversation) {
        return conversation.change("log_set_level", {{"level", raw->level}},
                                   absl::StrCat("the level of the log is ", raw->level));
      });
  log.operand("LEVEL", "one of the levels of log_set_level", "INFO", raw->level);

  commands.add("save", "write the served configuration to the daemon's file", "",
               [](Conversation& conversation) {
                 return conversation.change("save_config", {{"write", true}}, "saved");
               });
  commands.add("methods", "list the methods of the daemon, and their parameters", "",
               print_methods);
  base::CommandLine& call =
      commands.add("call", "call a method of the daemon and print its result", "",
                   [raw](Conversation& conversation) -> absl::Status {
                     const auto parameters = parse_parameters(raw->parameters);
                     if (!parameters.ok()) return parameters.status();
                     const auto answer = conversation.ask(raw->method, *parameters);
                     if (!answer.ok()) return answer.status();
                     return conversation.print(*answer, base::print_json(*answer));
                   });
  call.operand("METHOD", "the name of a method", "bdev_get_bdevs", raw->method);
  call.text("params", "JSON", "its parameters, a JSON object", raw->parameters);
}

}  // namespace mrpool::ctl
