#include "examples/storage/rbd.h"

#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "examples/storage/plugin.h"
#include "examples/storage/remote.h"

namespace mrpool::storage {
namespace {

constexpr Plugin kPlugin{.scheme = "rbd",
                         .file = "mrpool-rbd.so",
                         .package = "mrpool-rbd",
                         .build = "librbd-dev librados-dev"};
constexpr std::string_view kOptions[] = {"conf=FILE", "id=USER",     "namespace=NAME",
                                         "snap=NAME", "client=NAME", "ro"};
constexpr std::string_view kWay[] = {"conf", "id", "namespace", "snap"};

template <typename... Parts>
absl::Status bad(const Spec& spec, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("\"", spec.text, "\": ", parts...));
}

absl::Status check_rbd(const Spec& spec) {
  const size_t slash = spec.target.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == spec.target.size()) {
    return bad(spec, "the pool or the image is missing; write rbd:POOL/IMAGE");
  }
  if (spec.target.find_first_of("/@", slash + 1) != std::string::npos) {
    return bad(spec, "\"", spec.target.substr(slash + 1),
               "\" is not the name of an image; write rbd:POOL/IMAGE, and if needed "
               "namespace=NAME and snap=NAME");
  }
  for (const StoreSpec::Option& option : spec.options) {
    if (option.has_value && option.value.empty()) {
      return bad(spec, option.name, "= has no value; leave it out, or write one");
    }
  }
  return absl::OkStatus();
}

absl::Status check_place(const Spec& spec) {
  if (absl::Status status = check_rbd(spec); !status.ok()) return status;
  if (const auto api = rbd_plugin(); !api.ok()) return api.status();
  const StoreSpec::Option* conf = spec.find("conf");
  if (conf == nullptr || ::access(conf->value.c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat(conf->value, ": cannot be read"));
}

absl::StatusOr<std::shared_ptr<Volume>> open_rbd(const Spec& spec) {
  if (absl::Status status = check_rbd(spec); !status.ok()) return status;
  const absl::StatusOr<const RemoteApi*> api = rbd_plugin();
  if (!api.ok()) return api.status();
  return open_remote(spec, **api);
}

}  // namespace

absl::StatusOr<const RemoteApi*> rbd_plugin() { return load(kPlugin); }

constinit const Backend kRbd = {
    .scheme = "rbd",
    .target = "POOL/IMAGE",
    .example = "rbd:POOL/IMAGE",
    .summary =
        "an image of a Ceph cluster, of the package mrpool-rbd; conf: its ceph.conf, id: the "
        "user, ro: read only, as a snapshot is",
    .options = kOptions,
    .check = check_rbd,
    .check_there = check_place,
    .memory = [](const Spec&) { return uint64_t{0}; },
    .way = kWay,
    .open = open_rbd};

}  // namespace mrpool::storage
