#include "examples/storage/plugin.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace mrpool::storage {
namespace {

namespace fs = std::filesystem;

std::string text(std::string_view view) { return std::string(view); }

// In a build tree, or where it is installed.
absl::StatusOr<std::string> find(const Plugin& plugin) {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* folder : {"../lib", "../" MRPOOL_LIBDIR "/mrpool"}) {
    std::string path = (bin / folder / plugin.file).lexically_normal().string();
    if (fs::exists(path, error)) return path;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("stores of the kind \"", text(plugin.scheme), ":\" need ", text(plugin.file),
                   ", which is neither in ../lib nor in ../" MRPOOL_LIBDIR
                   "/mrpool next to the program's folder; "
                   "apt-get install ",
                   text(plugin.package), ", or, in a build, apt-get install ", text(plugin.build),
                   " and build again"));
}

}  // namespace

absl::StatusOr<const RemoteApi*> load(const Plugin& plugin) {
  const absl::StatusOr<std::string> path = find(plugin);
  if (!path.ok()) return path.status();
  // A second call finds what the first has loaded.
  void* const object = ::dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(*path, " cannot be loaded: ", ::dlerror(),
                                                      "; apt-get install --reinstall ",
                                                      text(plugin.package)));
  }
  const auto* api = static_cast<const RemoteApi*>(::dlsym(object, kRemoteApiSymbol));
  if (api != nullptr && api->version == kRemoteApiVersion) return api;
  return absl::FailedPreconditionError(
      absl::StrCat(*path, " is of another version than this program; install ",
                   text(plugin.package), " of the same version"));
}

}  // namespace mrpool::storage
