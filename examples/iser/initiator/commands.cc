// mrpool-iser ls, inq, read, write.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/protocol/iscsi/discovery.h"

namespace mrpool::iser {
namespace {

constexpr size_t kAtOnce = 256 << 10;
// What INQUIRY answers where there is no unit (SPC-4 §6.6.2: qualifier 011b, type 1fh).
constexpr uint8_t kNoUnit = 0x7f;

// InvalidArgument without the name of a target.
absl::Status check_target(const ClientOptions& options) {
  if (!options.target.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--target is missing; `mrpool-iser ls ",
                                                 options.address, "` shows the targets"));
}

absl::StatusOr<std::unique_ptr<Client>> connect(const ClientOptions& options) {
  if (absl::Status status = check_target(options); !status.ok()) return status;
  auto client = Client::create(options);
  if (!client.ok()) return client.status();
  auto session = (*client)->log_in();
  if (!session.ok()) return session.status();
  return client;
}

std::string text_field(std::span<const std::byte> data, size_t at, size_t size) {
  std::string text(reinterpret_cast<const char*>(data.data()) + at, size);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return text;
}

struct Span {
  uint64_t offset = 0;
  uint64_t size = 0;  // 0: to the end
};

absl::Status check(const Span& span, const Capacity& capacity) {
  if (span.offset % capacity.block_size != 0 || span.size % capacity.block_size != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--offset ", span.offset, " and --size ", span.size,
                     " must be multiples of the unit's blocks of ", capacity.block_size, " bytes"));
  }
  if (span.offset > capacity.bytes() || span.size > capacity.bytes() - span.offset) {
    return absl::OutOfRangeError(
        absl::StrCat("the unit has ", capacity.bytes(), " bytes; the range ends after it"));
  }
  return absl::OkStatus();
}

// "-" is the standard stream.
absl::StatusOr<std::FILE*> open_file(const std::string& path, const char* mode,
                                     std::FILE* standard) {
  if (path == "-") return standard;
  std::FILE* const file = std::fopen(path.c_str(), mode);
  if (file != nullptr) return file;
  return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", std::strerror(errno)));
}

absl::Status output_failed() {
  return absl::DataLossError(absl::StrCat("writing the output: ", std::strerror(errno)));
}

absl::Status copy_out(Client& client, Span span, std::FILE* to) {
  const auto capacity = read_capacity(client);
  if (!capacity.ok()) return capacity.status();
  if (absl::Status status = check(span, *capacity); !status.ok()) return status;
  if (span.size == 0) span.size = capacity->bytes() - span.offset;
  std::vector<std::byte> data(kAtOnce);
  while (span.size != 0) {
    const auto part = std::span(data).first(std::min<uint64_t>(span.size, data.size()));
    absl::Status status = client.run(transfer_cdb(false, span.offset / capacity->block_size,
                                                  uint32_t(part.size() / capacity->block_size)),
                                     DataDirection::kIn, part);
    if (!status.ok()) return status;
    if (std::fwrite(part.data(), 1, part.size(), to) != part.size()) {
      return output_failed();
    }
    span.offset += part.size();
    span.size -= part.size();
  }
  return std::fflush(to) == 0 ? absl::OkStatus() : output_failed();
}

absl::Status copy_in(Client& client, Span span, std::FILE* from, uint64_t& written) {
  const auto capacity = read_capacity(client);
  if (!capacity.ok()) return capacity.status();
  if (absl::Status status = check(span, *capacity); !status.ok()) return status;
  std::vector<std::byte> data(kAtOnce);
  uint64_t left = span.size != 0 ? span.size : capacity->bytes() - span.offset;
  const bool bounded = span.size != 0;
  while (left != 0) {
    const size_t want = std::min<uint64_t>(left, data.size());
    const size_t got = std::fread(data.data(), 1, want, from);
    if (std::ferror(from) != 0) {
      return absl::DataLossError(absl::StrCat("reading the input: ", std::strerror(errno)));
    }
    if (got == 0) break;
    if (got % capacity->block_size != 0) {
      return absl::InvalidArgumentError(absl::StrCat("the input ends ", got % capacity->block_size,
                                                     " bytes into a block of ",
                                                     capacity->block_size));
    }
    absl::Status status = client.run(transfer_cdb(true, span.offset / capacity->block_size,
                                                  uint32_t(got / capacity->block_size)),
                                     DataDirection::kOut, std::span(data).first(got));
    if (!status.ok()) return status;
    span.offset += got;
    left -= got;
    written += got;
  }
  if (!bounded && left == 0 && std::fgetc(from) != EOF) {
    return absl::OutOfRangeError("the input is longer than the unit");
  }
  // Acknowledged to the caller means durable.
  return client.run(scsi::Cdb{0x35}, DataDirection::kNone, {});
}

// What read and write are asked for.
struct Copy {
  ClientOptions client;
  Span span;
  std::string file = "-";
};

// Moves between the unit and the file, or the stream that stands for it; returns the exit status.
template <typename Move>
int run(const Copy& copy, std::FILE* standard, const char* mode, Move move) {
  const auto file = open_file(copy.file, mode, standard);
  if (!file.ok()) return fail(file.status());
  auto client = connect(copy.client);
  absl::Status status = client.ok() ? move(**client, *file) : client.status();
  if (client.ok()) (*client)->log_out();
  if (*file != standard && std::fclose(*file) != 0 && status.ok()) status = output_failed();
  return status.ok() ? base::kExitOk : fail(status);
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

// The units of a target, with what iscsi-ls shows of them: the kind and the size.
absl::Status list_units(const ClientOptions& options) {
  auto client = connect(options);
  if (!client.ok()) return client.status();
  constexpr size_t kHeader = 8, kEntry = 8, kMostLuns = 1 << 14;
  std::vector<std::byte> list(kHeader + kMostLuns * kEntry);
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
    const auto capacity = status.ok() ? read_capacity(**client) : status;
    if (capacity.ok()) {
      std::printf("  LUN %u: %s, %llu blocks of %u bytes\n", lun, kind_of(inquiry),
                  static_cast<unsigned long long>(capacity->blocks), capacity->block_size);
    } else {
      std::printf("  LUN %u: %s\n", lun, std::string(capacity.status().message()).c_str());
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
  for (const iscsi::TargetRecord& target : *targets) {
    for (const std::string& address : target.addresses) {
      std::printf("%s %s,%u\n", target.name.c_str(), address.c_str(), target.portal_group_tag);
    }
    if (!units) continue;
    ClientOptions of_target = options;
    of_target.target = target.name;
    // One that lets nobody in does not hide the others.
    if (const absl::Status status = list_units(of_target); !status.ok()) exit = fail(status);
  }
  return exit;
}

int inquire(const ClientOptions& options) {
  auto client = connect(options);
  if (!client.ok()) return fail(client.status());
  std::array<std::byte, 255> data{};
  scsi::Cdb cdb{0x12, 0, 0, 0, uint8_t(data.size())};
  if (absl::Status status = (*client)->run(cdb, DataDirection::kIn, data); !status.ok()) {
    return fail(status);
  }
  if (uint8_t(data[0]) == kNoUnit) return fail((*client)->no_such_lun());
  print_inquiry(data);
  cdb[1] = 1;
  cdb[2] = 0x80;
  uint32_t size = 0;
  if (absl::Status status = (*client)->run(cdb, DataDirection::kIn, data, &size); !status.ok()) {
    return fail(status);
  }
  // Neither what came nor what the page says of itself is trusted alone.
  const size_t serial = size < 4 ? 0 : std::min<size_t>(size - 4, be::load16(&data[2]));
  std::printf("serial:      %s\n", text_field(data, 4, serial).c_str());
  const auto capacity = read_capacity(**client);
  if (!capacity.ok()) return fail(capacity.status());
  std::printf("blocks:      %llu of %u bytes\n", static_cast<unsigned long long>(capacity->blocks),
              capacity->block_size);
  (*client)->log_out();
  return 0;
}

int read(const Copy& copy) {
  return run(copy, stdout, "wbe",
             [&](Client& client, std::FILE* to) { return copy_out(client, copy.span, to); });
}

int write(const Copy& copy) {
  uint64_t written = 0;
  const int exit = run(copy, stdin, "rbe", [&](Client& client, std::FILE* from) {
    return copy_in(client, copy.span, from, written);
  });
  if (exit == base::kExitOk) {
    std::fprintf(stderr, "%llu bytes written\n", static_cast<unsigned long long>(written));
  }
  return exit;
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
  base::CommandLine& command = program.command("inq", "show what a unit says it is",
                                               [options] { return inquire(*options); });
  add_unit_options(command, *options);
  command.examples("  $ mrpool-iser inq uiwarp://127.0.0.1:3260 --target IQN --lun 1\n");
}

void add_read(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  base::CommandLine& command = program.command(
      "read", "copy a unit, or a range of it, to a file or stdout", [copy] { return read(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("output", "FILE", "where to; - is stdout", copy->file);
  command.size("offset", "first byte of the range", copy->span.offset);
  command.size("size", "bytes (default: to the end of the unit)", copy->span.size);
  command.examples(
      "  $ mrpool-iser read uiwarp://127.0.0.1:3260 --target IQN --size 48MiB "
      "--output a.img\n");
}

void add_write(base::CommandLine& program) {
  const auto copy = std::make_shared<Copy>();
  base::CommandLine& command = program.command("write", "copy a file or stdin to a range of a unit",
                                               [copy] { return write(*copy); });
  add_unit_options(command, copy->client);
  command.section("Copy");
  command.text("input", "FILE", "what to write; - is stdin", copy->file);
  command.size("offset", "first byte of the range", copy->span.offset);
  command.size("size", "bytes at most (default: to the end of the input)", copy->span.size);
  command.examples("  $ mrpool-iser write uiwarp://127.0.0.1:3260 --target IQN --input disk.img\n");
}

}  // namespace mrpool::iser
