// What both daemons need to serve what the kernel's target served: the files that nvmetcli and
// targetcli save.
//
// Thread safety: pure, but for logical_block_size, which looks at a file.
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

// Whose file it is, by its shape.
enum class FileKind : uint8_t { kOwn, kNvmetcli, kTargetcli };
FileKind kind_of(const base::JsonText& text);

// The bytes of a logical block of a block device, or of a block of the file system where it has
// smaller ones than 4096; zero: nothing is there, or it says nothing.
struct BlockSize {
  bool device = false;
  uint32_t bytes = 0;
};
BlockSize look_at_blocks(const std::string& path);

struct ImportOptions {
  std::string transport = "verbs";  // the scheme of addresses
  bool accept_wider = false;        // serve even where that lets in more than the file says
  std::function<BlockSize(const std::string& path)> blocks = look_at_blocks;
};
void declare_import_options(base::CommandLine& program, ImportOptions& options);

// "verbs://10.0.0.1:4420" of an address as a kernel's target has it, with or without brackets.
std::string import_address(const ImportOptions& options, std::string_view host,
                           std::string_view port);
// The specification of a store.
std::string import_file(const std::string& path, std::string_view options);

// InvalidArgument lists the notes that let in more than the file says, unless that is accepted.
absl::Status refuse_wider(std::span<const base::ImportNote> notes, const ImportOptions& options);
// All of them on stderr, a line each, for whoever asks what would be served.
void print_notes(const char* program, const std::string& file,
                 std::span<const base::ImportNote> notes);
// To the log, without those that nobody has to do anything about.
void log_notes(const char* program, const std::string& file,
               std::span<const base::ImportNote> notes);
// What an importer made, where it may be served: refuse_wider(), then `complete` of its config.
template <typename Imported, typename Complete>
absl::StatusOr<Imported> settle(absl::StatusOr<Imported> imported, const ImportOptions& options,
                                const Complete& complete);
// `status` of a file of which so much was left out that the rest is no configuration.
absl::Status explain(const absl::Status& status, std::span<const base::ImportNote> notes);
// InvalidArgument: it is no JSON, or no object.
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
