// The commands of mrpool-ctl. Each calls a daemon and prints the answer as a table or as JSON.
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
#include "mrpool/device.h"

namespace mrpool::ctl {

inline constexpr const char* kProgram = "mrpool-ctl";

// The options of every command.
struct CommonOptions {
  std::string socket;
  bool json = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

// The connection of a running command; connects at the first call.
class Conversation {
 public:
  Conversation(const CommonOptions& options, std::string_view kind)
      : options_(options), kind_(kind) {}

  absl::StatusOr<boost::json::value> ask(std::string_view method,
                                         const boost::json::object& parameters = {});
  // Prints the answer as JSON if the option is set, else `text`.
  absl::Status print(const boost::json::value& answer, std::string_view text) const;
  // Calls the method and prints `what` after success.
  absl::Status change(std::string_view method, const boost::json::object& parameters,
                      std::string_view what);

 private:
  absl::Status explain_unknown(const absl::Status& unknown);

  const CommonOptions& options_;
  const std::string kind_;
  std::unique_ptr<Client> client_;
};

class Commands {
 public:
  explicit Commands(base::CommandLine& program) : program_(program) {}

  using Run = std::function<absl::Status(Conversation&)>;
  // `kind`: the daemon that supports it, "nvmf" or "iser"; empty: both.
  base::CommandLine& add(std::string name, std::string summary, std::string_view kind, Run run);

 private:
  base::CommandLine& program_;
  CommonOptions options_;
};

// An address as SPDK's methods take it; without a port it has that of NVMe-oF.
boost::json::object listen_address(const Address& address);

void add_subsystems(Commands& commands);
void add_namespaces(Commands& commands);
void add_hosts(Commands& commands);
void add_listeners(Commands& commands);
void add_access(Commands& commands);
void add_referrals(Commands& commands);
void add_targets(Commands& commands);
void add_stores(Commands& commands);
void add_limits(Commands& commands);
void add_gateways(Commands& commands);
void add_daemon(Commands& commands);

inline constexpr const char* kSizeHelp = "null stores only; a file: grow it, then leave this out";
// Gives a null store the size `size`; 0: a file, whose size is read again.
absl::Status resize_store(Conversation& conversation, const std::string& name, uint64_t size);

// Moves --socket, --timeout and --json from before the command to the end, where its options are.
void move_options_back(std::vector<std::string>& arguments);

// Joins "subsystem", "list" to "subsystem-list" if that is a command.
void join_words(const base::CommandLine& program, std::vector<std::string>& arguments);

}  // namespace mrpool::ctl
