// The commands of mrpool-ctl. Each asks a daemon, and prints the answer as a table, or as JSON.
//
// Thread safety: the main thread. Ownership: the CommandLine outlives what is added to it.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/base/command_line.h"
#include "examples/ctl/client.h"

namespace mrpool::ctl {

inline constexpr const char* kProgram = "mrpool-ctl";

// What every command has.
struct CommonOptions {
  std::string socket;
  bool json = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

// A command at work: connects when it first asks.
class Conversation {
 public:
  Conversation(const CommonOptions& options, std::string_view kind)
      : options_(options), kind_(kind) {}

  absl::StatusOr<boost::json::value> ask(std::string_view method,
                                         const boost::json::object& parameters = {});
  // Prints the answer as JSON where that is wanted, else `text`.
  absl::Status print(const boost::json::value& answer, std::string_view text) const;
  // Asks, and prints "what" when it is done.
  absl::Status change(std::string_view method, const boost::json::object& parameters,
                      std::string_view what);

 private:
  const CommonOptions& options_;
  const std::string kind_;
  std::unique_ptr<Client> client_;
};

class Commands {
 public:
  explicit Commands(base::CommandLine& program) : program_(program) {}

  using Run = std::function<absl::Status(Conversation&)>;
  // `kind`: of the daemon that knows it, "nvmf" or "iser"; empty: both do.
  base::CommandLine& add(std::string name, std::string summary, std::string_view kind, Run run);

 private:
  base::CommandLine& program_;
  CommonOptions options_;
};

void add_subsystems(Commands& commands);
void add_namespaces(Commands& commands);
void add_hosts(Commands& commands);
void add_listeners(Commands& commands);
void add_referrals(Commands& commands);
void add_targets(Commands& commands);
void add_stores(Commands& commands);
void add_daemon(Commands& commands);

// A null store takes `size`; 0: it is a file, which is looked at again.
absl::Status resize_store(Conversation& conversation, const std::string& name, uint64_t size);

// "subsystem", "list" as "subsystem-list", where that is a command.
void join_words(const base::CommandLine& program, std::vector<std::string>& arguments);

}  // namespace mrpool::ctl
