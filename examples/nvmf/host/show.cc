// mrpool-nvmf discover, mrpool-nvmf identify: ask and print.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/base/printable.h"
#include "examples/base/units.h"
#include "examples/nvmf/host/commands.h"
#include "examples/nvmf/host/discovery.h"
#include "examples/nvmf/host/host.h"

namespace mrpool::nvme::host {
namespace {

namespace json = boost::json;

// A blank or zero padded field, which the target has chosen.
template <size_t N>
std::string text_of(const char (&field)[N]) {
  absl::string_view text(field, N);
  text = text.substr(0, text.find('\0'));
  return base::printable(std::string(absl::StripAsciiWhitespace(text)));
}

void print(const json::value& document) { std::puts(json::serialize(document).c_str()); }

// --- discover ---

json::object to_json(const nvmf_disc_log_entry& entry) {
  return {{"trtype", transport_name(entry)},       {"adrfam", address_family_name(entry)},
          {"subtype", subsystem_type_name(entry)}, {"portid", le(uint16_t(entry.portid))},
          {"cntlid", le(uint16_t(entry.cntlid))},  {"traddr", text_of(entry.traddr)},
          {"trsvcid", text_of(entry.trsvcid)},     {"subnqn", text_of(entry.subnqn)},
          {"treq", requirements_name(entry)}};
}

void print_text(const DiscoveryLog& log) {
  std::printf("%zu record%s, generation %llu\n", log.entries.size(),
              log.entries.size() == 1 ? "" : "s", static_cast<unsigned long long>(log.generation));
  for (const nvmf_disc_log_entry& entry : log.entries) {
    const bool six = entry.adrfam == NVMF_ADDR_FAMILY_IP6;
    std::printf("  %-9s %s\n            %s %s%s%s:%s, port id %u%s\n",
                subsystem_type_name(entry).c_str(), text_of(entry.subnqn).c_str(),
                transport_name(entry).c_str(), six ? "[" : "", text_of(entry.traddr).c_str(),
                six ? "]" : "", text_of(entry.trsvcid).c_str(),
                unsigned(le(uint16_t(entry.portid))),
                (entry.treq & 3) == NVMF_TREQ_REQUIRED ? ", secure channel required" : "");
  }
}

Async<absl::Status> run_discover(Host& host, bool as_json) {
  absl::Status status = co_await host.session().connect();
  if (!status.ok()) co_return status;
  const auto log = co_await read_discovery_log(host.session().controller());
  co_await host.session().disconnect();
  if (!log.ok()) co_return log.status();
  if (!as_json) {
    print_text(*log);
    co_return absl::OkStatus();
  }
  json::array records;
  for (const nvmf_disc_log_entry& entry : log->entries) records.push_back(to_json(entry));
  print(json::object{{"genctr", log->generation}, {"records", std::move(records)}});
  co_return absl::OkStatus();
}

// --- identify ---

// VER of Identify Controller: "1.4.0".
std::string version_text(uint32_t ver) {
  return absl::StrCat(ver >> 16, ".", ver >> 8 & 0xff, ".", ver & 0xff);
}

json::object controller_json(const Controller& controller) {
  const nvme_id_ctrl& id = controller.identity();
  return {{"cntlid", controller.id()},
          {"subnqn", text_of(id.subnqn)},
          {"vid", le(uint16_t(id.vid))},
          {"sn", text_of(id.sn)},
          {"mn", text_of(id.mn)},
          {"fr", text_of(id.fr)},
          {"ver", version_text(le(uint32_t(id.ver)))},
          {"mdts", id.mdts},
          {"nn", le(uint32_t(id.nn))},
          {"oncs", le(uint16_t(id.oncs))},
          {"vwc", id.vwc},
          {"sgls", le(uint32_t(id.sgls))},
          {"kas", le(uint16_t(id.kas))},
          {"maxcmd", le(uint16_t(id.maxcmd))},
          {"ioccsz", le(uint32_t(id.ioccsz))},
          {"iorcsz", le(uint32_t(id.iorcsz))},
          {"icdoff", le(uint16_t(id.icdoff))},
          {"max_queue_entries", controller.max_queue_entries()}};
}

// "0a1b2c3d-1111-4222-8333-444455556666" of what namespace_identifiers() begins with; empty: the
// namespace has none.
std::string uuid_text(std::string_view identifiers) {
  constexpr std::string_view kPrefix = "uuid:";
  constexpr size_t kDigits = 32;
  if (!identifiers.starts_with(kPrefix) || identifiers.size() < kPrefix.size() + kDigits) return {};
  std::string text(identifiers.substr(kPrefix.size(), kDigits));
  for (const size_t at : {20, 16, 12, 8}) text.insert(at, "-");
  return text;
}

json::object namespace_json(uint32_t nsid, const nvme_id_ns& ns, std::string_view identifiers) {
  std::string nguid;
  for (const uint8_t byte : ns.nguid) nguid += absl::StrFormat("%02x", byte);
  return {{"nsid", nsid},
          {"nsze", le(uint64_t(ns.nsze))},
          {"ncap", le(uint64_t(ns.ncap))},
          {"nuse", le(uint64_t(ns.nuse))},
          {"block_size", block_bytes(ns)},
          {"nsfeat", ns.nsfeat},
          {"dlfeat", ns.dlfeat},
          {"nguid", nguid},
          {"uuid", uuid_text(identifiers)}};
}

std::string value_text(const json::value& value) {
  return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}

void print_text(const char* title, const json::object& fields) {
  std::printf("%s\n", title);
  for (const auto& field : fields) {
    std::printf("  %-18s %s\n", std::string(field.key()).c_str(),
                value_text(field.value()).c_str());
  }
}

Async<absl::Status> run_identify(Host& host, bool as_json) {
  Session& session = host.session();
  absl::Status status = co_await session.connect();
  if (!status.ok()) co_return status;
  Controller& controller = session.controller();
  const json::object id = controller_json(controller);
  json::array namespaces;
  const auto nsids = co_await controller.active_namespaces();
  status = nsids.status();
  if (nsids.ok()) {
    for (const uint32_t nsid : *nsids) {
      const auto ns = co_await controller.identify_namespace(nsid);
      status = ns.status();
      if (!ns.ok()) break;
      const auto identifiers = co_await controller.identifiers(nsid, *ns);
      status = identifiers.status();
      if (!identifiers.ok()) break;
      namespaces.push_back(namespace_json(nsid, *ns, *identifiers));
    }
  }
  co_await session.disconnect();
  if (!status.ok()) co_return status;
  if (as_json) {
    print(json::object{{"controller", id}, {"namespaces", std::move(namespaces)}});
    co_return absl::OkStatus();
  }
  print_text("controller", id);
  for (const json::value& ns : namespaces) {
    const json::object& fields = ns.as_object();
    // What the controller claims may be more than a number holds.
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(fields.at("nsze").to_number<uint64_t>(),
                               fields.at("block_size").to_number<uint64_t>(), &bytes)) {
      bytes = UINT64_MAX;
    }
    print_text(absl::StrCat("namespace, ", base::format_size(bytes)).c_str(), fields);
  }
  co_return absl::OkStatus();
}

// Declares a command that connects to the controller that `options` name and runs `work` with it.
void add_show(base::CommandLine& program, const char* name, const char* summary,
              const char* example, const HostOptions& defaults, HostOptionSet set,
              Async<absl::Status> (*work)(Host&, bool as_json)) {
  struct Arguments {
    HostOptions host;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>(Arguments{defaults});
  base::CommandLine& command = program.command(name, summary, [arguments, work] {
    auto host = Host::create(arguments->host, 0, 1);
    if (!host.ok()) return fail(host.status());
    const absl::Status status = (*host)->run(work(**host, arguments->json));
    return status.ok() ? kExitOk : fail(status);
  });
  add_options(command, arguments->host, set);
  command.section("Report");
  command.choice<bool>("output-format", "format of the output", arguments->json,
                       {{"normal", false}, {"json", true}});
  command.examples(example);
}

}  // namespace

void add_discover(base::CommandLine& program) {
  HostOptions options;
  options.subnqn = kDiscoveryNqn;
  add_show(program, "discover", "list the subsystems a target offers",
           "  $ mrpool-nvmf discover uiwarp://127.0.0.1:4420\n", options,
           HostOptionSet::kAddressOnly, &run_discover);
}

void add_identify(base::CommandLine& program) {
  add_show(program, "identify", "show a controller and its namespaces",
           "  $ mrpool-nvmf identify uiwarp://127.0.0.1:4420 --subnqn NQN\n", {},
           HostOptionSet::kSubsystem, &run_identify);
}

}  // namespace mrpool::nvme::host
