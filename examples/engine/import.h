// Common code to import the configuration of the kernel's targets: the files that nvmetcli and
// targetcli save.
//
// Thread safety: pure, except look_at_blocks, which reads a file's properties.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/base/import.h"
#include "examples/base/json_text.h"

namespace mrpool::base {
class CommandLine;
}  // namespace mrpool::base

namespace mrpool::engine {

// The program that wrote the file, recognized by its keys.
enum class FileKind : uint8_t { kOwn, kNvmetcli, kTargetcli };
FileKind kind_of(const base::JsonText& text);

// The logical block size of a block device, or of a file's file system if that is smaller than 4096
// bytes. Zero: the path does not exist, or its block size is unknown.
struct BlockSize {
  bool device = false;
  uint32_t bytes = 0;
};
BlockSize look_at_blocks(const std::string& path);

struct ImportOptions {
  std::string transport = "verbs";  // the scheme of the addresses
  bool accept_wider = false;        // serve even if that grants more access than the file
  std::function<BlockSize(const std::string& path)> blocks = look_at_blocks;
};
void declare_import_options(base::CommandLine& program, ImportOptions& options);

// "verbs://10.0.0.1:4420" for an address in the notation of the kernel's target, with or without
// brackets.
std::string import_address(const ImportOptions& options, std::string_view host,
                           std::string_view port);
// The specification of a store in the file `path`.
std::string import_file(const std::string& path, std::string_view options);

// InvalidArgument lists the notes where more access would be granted than in the file, unless
// `options` accepts that.
absl::Status refuse_wider(std::span<const base::ImportNote> notes, const ImportOptions& options);
// Prints all notes on stderr, one line each, when the user asks what would be served.
void print_notes(const char* program, const std::string& file,
                 std::span<const base::ImportNote> notes);
// Logs the notes, except those that require no action.
void log_notes(const char* program, const std::string& file,
               std::span<const base::ImportNote> notes);
// Checks the result of an importer: refuse_wider(), then `complete` of its config.
template <typename Imported, typename Complete>
absl::StatusOr<Imported> settle(absl::StatusOr<Imported> imported, const ImportOptions& options,
                                const Complete& complete);
// Adds `notes` to `status`: when much of a file was left out, the notes explain why the rest is not
// a complete configuration.
absl::Status explain(const absl::Status& status, std::span<const base::ImportNote> notes);
// InvalidArgument: it is not JSON, or not an object.
absl::StatusOr<base::JsonText> parse_object(std::string_view json);

template <typename Imported, typename Complete>
absl::StatusOr<Imported> settle(absl::StatusOr<Imported> imported, const ImportOptions& options,
                                const Complete& complete) {
  if (!imported.ok()) return imported;
  absl::Status status = refuse_wider(imported->notes, options);
  if (status.ok()) status = explain(complete(imported->config), imported->notes);
  if (!status.ok()) return status;
  return imported;
}

}  // namespace mrpool::engine
