// mrpool-iser ls and inq: query a target and print the answer.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/base/exit_status.h"
#include "examples/base/printable.h"
#include "examples/iser/initiator/access.h"
#include "examples/iser/initiator/client.h"
#include "examples/iser/initiator/limits.h"
#include "examples/protocol/iscsi/discovery.h"

namespace mrpool::iser {
namespace {

// The answer of INQUIRY for a missing unit (SPC-4 §6.6.2: qualifier 011b, type 1fh).
constexpr uint8_t kNoUnit = 0x7f;

// A text field of the target's answer, made printable.
std::string text_field(std::span<const std::byte> data, size_t at, size_t size) {
  std::string text(reinterpret_cast<const char*>(data.data()) + at, size);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return base::printable(text);
}

const char* kind_of(std::span<const std::byte> inquiry) {
  return (uint8_t(inquiry[0]) & 0x1f) == 0 ? "disk" : "no disk";
}

void print_inquiry(std::span<const std::byte> data) {
  std::printf("peripheral:  %s\n", kind_of(data));
  std::printf("version:     %u\n", unsigned(data[2]));
  std::printf("vendor:      %s\n", text_field(data, 8, 8).c_str());
  std::printf("product:     %s\n", text_field(data, 16, 16).c_str());
  std::printf("revision:    %s\n", text_field(data, 32, 4).c_str());
}

// The access state of the unit of client.run(), as to_string(GroupState) writes it. Empty: the unit
// reports none.
absl::StatusOr<std::string> read_access(Client& client, std::span<const std::byte> inquiry) {
  if (!reports_port_groups(inquiry)) return std::string();
  std::vector<std::byte> page(kMaxPortGroupData);
  const scsi::Cdb identification{0x12, 1, 0x83, uint8_t(page.size() >> 8), uint8_t(page.size())};
  uint32_t size = 0;
  absl::Status status = client.run(identification, DataDirection::kIn, page, &size);
  if (!status.ok()) return status;
  const auto group = port_group(page_data(std::span(page).first(size)));
  if (!group) return absl::InternalError("VPD page 83h names no target port group");
  status =
      client.run(report_port_groups_cdb(uint32_t(page.size())), DataDirection::kIn, page, &size);
  if (!status.ok()) return status;
  const auto state = group_state(std::span(page).first(size), *group);
  if (state) return to_string(*state);
  return absl::InternalError(
      absl::StrCat("REPORT TARGET PORT GROUPS has no group ", *group, ", which its port is in"));
}

// Lists the units of a target with kind, size and access state, like iscsi-ls.
absl::Status list_units(const ClientOptions& options) {
  auto client = connect(options);
  if (!client.ok()) return client.status();
  constexpr size_t kHeader = 8, kEntry = 8;
  std::vector<std::byte> list(kHeader + kMaxLuns * kEntry);
  scsi::Cdb cdb{0xa0};
  be::store32(&cdb[6], uint32_t(list.size()));
  uint32_t size = 0;
  absl::Status status = (*client)->run(cdb, DataDirection::kIn, list, &size);
  if (!status.ok()) return status;
  for (size_t at = kHeader; at + kEntry <= size; at += kEntry) {
    const uint32_t lun = be::load16(&list[at]) & 0x3fff;
    (*client)->use_lun(lun);
    std::array<std::byte, 36> inquiry{};
    status = (*client)->run({0x12, 0, 0, 0, uint8_t(inquiry.size())}, DataDirection::kIn, inquiry);
    const auto access =
        status.ok() ? read_access(**client, inquiry) : absl::StatusOr<std::string>(status);
    const std::string state =
        access.ok() && !access->empty() ? absl::StrCat(", ", *access) : std::string();
    const auto unit = status.ok() ? (*client)->read_unit() : status;
    if (unit.ok()) {
      std::printf("  LUN %u: %s, %llu blocks of %u bytes%s\n", lun, kind_of(inquiry),
                  static_cast<unsigned long long>(unit->capacity.blocks), unit->capacity.block_size,
                  state.c_str());
    } else if (absl::IsUnavailable(unit.status()) || absl::IsCancelled(unit.status())) {
      return unit.status();  // without a session the others cannot be queried
    } else {
      std::printf("  LUN %u: %s%s\n", lun,
                  base::printable(std::string(unit.status().message())).c_str(), state.c_str());
    }
  }
  (*client)->log_out();
  return absl::OkStatus();
}

int list_targets(const ClientOptions& options, bool units) {
  int exit = base::kExitOk;
  ClientOptions discovery = options;
  discovery.target.clear();
  auto client = Client::create(discovery);
  if (!client.ok()) return fail(client.status());
  absl::StatusOr<std::string> answer = absl::UnknownError("no answer");
  const auto session = (*client)->log_in();
  if (!session.ok()) return fail(session.status());
  (*client)->wait([&](const std::function<void()>& done) {
    using std::string_literals::operator""s;
    (*session)->text("SendTargets=All\0"s, [&, done](absl::StatusOr<std::string> text) {
      answer = std::move(text);
      done();
    });
  });
  if (!answer.ok()) return fail(answer.status());
  const auto targets = iscsi::parse_targets(*answer);
  if (!targets) return fail(absl::InternalError("a malformed list of targets"));
  (*client)->log_out();
  if (targets->empty()) {
    std::fprintf(stderr, "mrpool-iser: no target at %s admits %s\n", options.address.c_str(),
                 options.initiator.c_str());
  }
  for (const iscsi::TargetRecord& target : *targets) {
    for (const std::string& address : target.addresses) {
      std::printf("%s %s,%u\n", base::printable(target.name).c_str(),
                  base::printable(address).c_str(), target.portal_group_tag);
    }
    if (!units) continue;
    ClientOptions of_target = options;
    of_target.target = target.name;
    // A target that refuses the login does not hide the others.
    if (const absl::Status status = list_units(of_target); !status.ok()) exit = fail(status);
    if (load::Interrupt::heard()) return exit;
  }
  return exit;
}

int inquire(const ClientOptions& options) {
  auto client = connect(options);
  if (!client.ok()) return fail(client.status());
  std::array<std::byte, 255> data{};
  const scsi::Cdb cdb{0x12, 0, 0, 0, uint8_t(data.size())};
  if (absl::Status status = (*client)->run(cdb, DataDirection::kIn, data); !status.ok()) {
    return fail(status);
  }
  if (uint8_t(data[0]) == kNoUnit) return fail((*client)->no_such_lun());
  print_inquiry(data);
  // Before the capacity, which a unit does not report in every state.
  const auto access = read_access(**client, data);
  if (absl::IsUnavailable(access.status()) || absl::IsCancelled(access.status())) {
    return fail(access.status());
  }
  if (!access.ok() || !access->empty()) {
    const std::string text =
        access.ok() ? *access : absl::StrCat("unknown: ", access.status().message());
    std::printf("access:      %s\n", base::printable(text).c_str());
  }
  const auto unit = (*client)->read_unit();
  if (!unit.ok()) return fail(unit.status());
  const std::span serial(unit->serial);
  std::printf("serial:      %s\n", text_field(std::as_bytes(serial), 0, serial.size()).c_str());
  std::printf("blocks:      %llu of %u bytes\n",
              static_cast<unsigned long long>(unit->capacity.blocks), unit->capacity.block_size);
  (*client)->log_out();
  return 0;
}

}  // namespace

void add_ls(base::CommandLine& program) {
  struct Arguments {
    ClientOptions client;
    bool units = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  base::CommandLine& command =
      program.command("ls", "list the targets of a portal, and their units",
                      [arguments] { return list_targets(arguments->client, arguments->units); });
  add_options(command, arguments->client);
  command.section("Report");
  command.flag("show-luns", "log in to each target and list its units", arguments->units);
  command.examples("  $ mrpool-iser ls uiwarp://127.0.0.1:3260 --show-luns\n");
}

void add_inq(base::CommandLine& program) {
  const auto options = std::make_shared<ClientOptions>();
  base::CommandLine& command = program.command("inq", "show the identification of a unit",
                                               [options] { return inquire(*options); });
  add_unit_options(command, *options);
  command.examples("  $ mrpool-iser inq uiwarp://127.0.0.1:3260 --target IQN --lun 1\n");
}

}  // namespace mrpool::iser
