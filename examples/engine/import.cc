#include "examples/engine/import.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/log.h"
#include "examples/base/printable.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/spec.h"

namespace mrpool::engine {
namespace {

using base::ImportNote;
using base::ImportWeight;

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

// The part of a message with the notes of this weight.
std::string list(std::span<const ImportNote> notes, ImportWeight weight) {
  std::string all;
  for (const ImportNote& note : notes) {
    if (note.weight == weight) absl::StrAppend(&all, "\n  ", note.text);
  }
  return all;
}

std::string line_of(const char* program, const std::string& file, const ImportNote& note) {
  return absl::StrCat(program, ": warning: ", base::printable(file), ": ",
                      base::printable(note.text));
}

}  // namespace

FileKind kind_of(const base::JsonText& text) {
  const boost::json::object* root = text.value.if_object();
  if (root == nullptr || root->contains("listen")) return FileKind::kOwn;
  if (root->contains("storage_objects") || root->contains("fabric_modules")) {
    return FileKind::kTargetcli;
  }
  return root->contains("ports") ? FileKind::kNvmetcli : FileKind::kOwn;
}

BlockSize look_at_blocks(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  if (S_ISBLK(status.st_mode)) {
    const storage::Descriptor device(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    int bytes = 0;
    if (device.get() < 0 || ::ioctl(device.get(), BLKSSZGET, &bytes) != 0 || bytes <= 0) {
      return {.device = true, .bytes = 0};
    }
    return {.device = true, .bytes = uint32_t(bytes)};
  }
  struct statfs system {};
  if (::statfs(path.c_str(), &system) != 0 || system.f_bsize <= 0 || system.f_bsize >= 4096) {
    return {};
  }
  return {.device = false, .bytes = uint32_t(system.f_bsize)};
}

void declare_import_options(base::CommandLine& program, ImportOptions& options) {
  program.section("Files of the kernel's target");
  program.choice<std::string>("import-transport", "transport of its ports", options.transport,
                              {{"verbs", "verbs"}, {"uiwarp", "uiwarp"}});
  program.flag("import-anyway", "serve it even if that grants more access than the file",
               options.accept_wider);
}

std::string import_address(const ImportOptions& options, std::string_view host,
                           std::string_view port) {
  const bool bare = host.find(':') != std::string_view::npos && !host.starts_with('[');
  return absl::StrCat(options.transport, "://", bare ? "[" : "", view(host), bare ? "]" : "",
                      port.empty() ? "" : ":", view(port));
}

std::string import_file(const std::string& path, std::string_view options) {
  return absl::StrCat("file:", storage::escape(path), view(options));
}

absl::Status refuse_wider(std::span<const ImportNote> notes, const ImportOptions& options) {
  const std::string wider = list(notes, ImportWeight::kWider);
  if (wider.empty() || options.accept_wider) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("this would grant more access than the file:", wider,
                   "\nchange the file, or write --import-anyway if that is meant"));
}

void print_notes(const char* program, const std::string& file, std::span<const ImportNote> notes) {
  const bool text = base::log_format() == base::LogFormat::kText;
  for (const ImportNote& note : notes) {
    const std::string line = line_of(program, file, note);
    if (text) {
      std::fprintf(stderr, "%s\n", line.c_str());
    } else {
      base::log({.event = base::Event::kImportNote, .message = line});
    }
  }
}

void log_notes(const char* program, const std::string& file, std::span<const ImportNote> notes) {
  for (const ImportNote& note : notes) {
    if (note.weight == ImportWeight::kMinor) continue;
    base::log({.event = base::Event::kImportNote, .message = line_of(program, file, note)});
  }
}

absl::Status explain(const absl::Status& status, std::span<const ImportNote> notes) {
  const std::string lost = list(notes, ImportWeight::kLost);
  if (status.ok() || lost.empty()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(status.message(), "\nomitted from the file:", lost));
}

absl::StatusOr<base::JsonText> parse_object(std::string_view json) {
  auto text = base::parse_json_text(json);
  if (!text.ok() || text->value.is_object()) return text;
  return absl::InvalidArgumentError("the file must hold one JSON object");
}

}  // namespace mrpool::engine
