#include "examples/storage/stores.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "examples/base/log.h"
#include "examples/base/units.h"
#include "examples/storage/backend.h"
#include "examples/storage/spec.h"

namespace mrpool::storage {
namespace {

absl::Status at(const WantedStore& where, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(where.origin, where.parent, " ", where.place,
                                                  ", ", where.spec, ": ", status.message()));
}

// Nothing: it has no identity yet, as a file that is still to be made, or memory without a name.
std::optional<StoreIdentity> identity_of(const StoreSpec& spec) {
  if (const StoreSpec::Option* name = spec.find("name")) return StoreIdentity::named(name->value);
  if (spec.scheme != "file") return std::nullopt;
  absl::StatusOr<StoreIdentity> identity = StoreIdentity::of(spec.target);
  if (!identity.ok()) return std::nullopt;
  return *std::move(identity);
}

// What two stores that are one have in common; empty: nothing, as memory without a name.
std::string key_of(const StoreSpec& spec, const std::optional<StoreIdentity>& identity) {
  if (identity) return identity->text();
  if (spec.scheme != "file") return address_of(spec);
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(spec.target, error);
  return error ? spec.target : whole.string();
}

// Except the block size, which may be set elsewhere, and the order of the options.
StoreSpec normal(StoreSpec spec) {
  std::erase_if(spec.options, [](const auto& option) { return option.name == "bs"; });
  std::ranges::sort(spec.options, {}, &StoreSpec::Option::name);
  return spec;
}

class Opening {
 public:
  Opening(std::span<const WantedStore> wanted, std::span<const ServedStore> served,
          const OpenVolume& open_volume, Growth* growth)
      : served_(served), open_volume_(open_volume), growth_(growth), taken_(served.size()) {
    for (const WantedStore& each : wanted) wanted_.push_back({.as = each});
  }

  absl::StatusOr<std::vector<std::shared_ptr<Volume>>> run() {
    for (const auto step : {&Opening::identify, &Opening::match_memory, &Opening::open}) {
      if (absl::Status status = (this->*step)(); !status.ok()) return status;
    }
    std::vector<std::shared_ptr<Volume>> volumes;
    for (Wanted& each : wanted_) volumes.push_back(std::move(each.volume));
    return volumes;
  }

  absl::Status check() {
    if (absl::Status status = identify(); !status.ok()) return status;
    for (const Wanted& each : wanted_) {
      const absl::Status status = check_there(each.as.spec, {.block_size = each.as.block_size});
      if (!status.ok()) return at(each.as, status);
    }
    return absl::OkStatus();
  }

 private:
  struct Wanted {
    const WantedStore& as;
    StoreSpec spec{};
    bool memory = false;  // without a name
    std::shared_ptr<Volume> before{};
    std::shared_ptr<Volume> volume{};
  };

  absl::Status identify();
  std::shared_ptr<Volume> find(const StoreIdentity& identity, const Wanted& wanted) const;
  std::shared_ptr<Volume> find(const std::string& address, const Wanted& wanted) const;
  static std::string group_of(const std::string& parent, const StoreSpec& spec, uint32_t block_size,
                              bool loosely);
  absl::Status match_memory();
  absl::Status match_groups(bool loosely);
  absl::Status keep_memory() const;
  void match_given();
  bool unchanged(const Wanted& wanted) const;
  absl::Status open();

  std::vector<Wanted> wanted_;
  const std::span<const ServedStore> served_;
  const OpenVolume& open_volume_;
  Growth* const growth_;
  std::vector<bool> taken_;  // of served_: memory without a name that is matched
};

absl::Status Opening::identify() {
  std::map<std::string, const Wanted*> seen;
  for (Wanted& each : wanted_) {
    const absl::StatusOr<StoreSpec> spec = parse_spec(each.as.spec);
    if (!spec.ok()) return at(each.as, spec.status());
    each.spec = *spec;
    const std::optional<StoreIdentity> identity = identity_of(each.spec);
    const std::string key = key_of(each.spec, identity);
    each.memory = key.empty();
    if (each.memory) continue;
    const auto [first, fresh] = seen.emplace(key, &each);
    const bool reads = each.spec.find("ro") != nullptr && first->second->spec.find("ro") != nullptr;
    if (!fresh) {
      const WantedStore& other = first->second->as;
      const bool alike = !each.as.named && !other.named && each.as.apart == other.apart;
      if (!reads || alike) {
        return at(each.as,
                  absl::FailedPreconditionError(absl::StrCat(
                      "is the store that ", other.parent, " ", other.place, " serves as ",
                      other.spec, "; serve it once, or ", reads ? "" : "both times with \",ro\"",
                      !reads && alike ? " and " : "",
                      alike ? "one of them with a \"uuid\" of its own" : "")));
      }
    }
    each.before = identity ? find(*identity, each) : find(address_of(each.spec), each);
  }
  return absl::OkStatus();
}

// The one with the same options first: two may read one store.
std::shared_ptr<Volume> Opening::find(const StoreIdentity& identity, const Wanted& wanted) const {
  std::shared_ptr<Volume> found;
  for (const ServedStore& each : served_) {
    if (each.volume->identity() != identity) continue;
    if (each.volume->spec() == wanted.as.spec) return each.volume;
    if (found == nullptr) found = each.volume;
  }
  return found;
}

// The same for a store that others keep, which is known by its address until it is open.
std::shared_ptr<Volume> Opening::find(const std::string& address, const Wanted& wanted) const {
  std::shared_ptr<Volume> found;
  for (const ServedStore& each : served_) {
    const absl::StatusOr<StoreSpec> spec = parse_spec(each.volume->spec());
    if (address.empty() || !spec.ok() || address_of(*spec) != address) continue;
    if (each.volume->spec() == wanted.as.spec) return each.volume;
    if (found == nullptr) found = each.volume;
  }
  return found;
}

// The text of memory without a name, and whose it is. Loosely: whatever its block size.
std::string Opening::group_of(const std::string& parent, const StoreSpec& spec, uint32_t block_size,
                              bool loosely) {
  return absl::StrCat(parent, " ", spec.scheme, ":", spec.target, " ", loosely ? 0 : block_size);
}

absl::Status Opening::match_memory() {
  match_given();
  for (const bool loosely : {false, true}) {
    if (absl::Status status = match_groups(loosely); !status.ok()) return status;
  }
  return keep_memory();
}

// Another size at the same place does not ask to destroy the data.
absl::Status Opening::keep_memory() const {
  for (const Wanted& each : wanted_) {
    if (!each.memory || each.before != nullptr || each.spec.scheme != "ram") continue;
    for (size_t i = 0; i < served_.size(); ++i) {
      const ServedStore& there = served_[i];
      if (taken_[i] || there.parent != each.as.parent || there.place != each.as.place) continue;
      const absl::StatusOr<StoreSpec> spec = parse_spec(there.volume->spec());
      const bool memory = there.volume->identity().kind() == StoreIdentity::Kind::kUnnamed;
      if (!memory || !spec.ok() || spec->scheme != "ram") continue;
      return at(each.as,
                absl::FailedPreconditionError(absl::StrCat(
                    "memory keeps its size while it is served, here as ", there.volume->spec(),
                    "; give the new one another number, or reload without it first")));
    }
  }
  return absl::OkStatus();
}

absl::Status Opening::match_groups(bool loosely) {
  std::map<std::string, std::vector<size_t>> there;
  for (size_t i = 0; i < served_.size(); ++i) {
    const Volume& volume = *served_[i].volume;
    const absl::StatusOr<StoreSpec> spec = parse_spec(volume.spec());
    const bool memory = volume.identity().kind() == StoreIdentity::Kind::kUnnamed;
    if (!memory || !spec.ok() || taken_[i]) continue;
    there[group_of(served_[i].parent, *spec, volume.geometry().block_size, loosely)].push_back(i);
  }
  std::map<std::string, std::vector<Wanted*>> wanted;
  for (Wanted& each : wanted_) {
    if (!each.memory || each.before != nullptr) continue;
    wanted[group_of(each.as.parent, each.spec, each.as.block_size, loosely)].push_back(&each);
  }
  for (const auto& [group, members] : wanted) {
    const std::vector<size_t>& candidates = there[group];
    if (candidates.size() > members.size()) {
      return at(members[0]->as,
                absl::FailedPreconditionError(absl::StrCat(
                    "several stores are served here as ", members[0]->as.spec,
                    " and the file has fewer; it is not known which of them stay: write their "
                    "numbers, or give each a name, as ",
                    members[0]->as.spec, ",name=scratch")));
    }
    for (size_t i = 0; i < candidates.size(); ++i) {
      members[i]->before = served_[candidates[i]].volume;
      taken_[candidates[i]] = true;
    }
  }
  return absl::OkStatus();
}

// Memory without a name that is at the number that was written.
void Opening::match_given() {
  for (Wanted& each : wanted_) {
    if (!each.memory || !each.as.given) continue;
    for (size_t i = 0; i < served_.size(); ++i) {
      const ServedStore& there = served_[i];
      if (taken_[i] || there.parent != each.as.parent || there.place != each.as.place) continue;
      const absl::StatusOr<StoreSpec> spec = parse_spec(there.volume->spec());
      if (!spec.ok() || there.volume->identity().kind() != StoreIdentity::Kind::kUnnamed) continue;
      if (spec->scheme != each.spec.scheme || spec->target != each.spec.target) continue;
      each.before = there.volume;
      taken_[i] = true;
      break;
    }
  }
}

bool Opening::unchanged(const Wanted& wanted) const {
  if (wanted.before == nullptr || wanted.before->fenced()) return false;
  const absl::StatusOr<StoreSpec> spec = parse_spec(wanted.before->spec());
  return spec.ok() && normal(*spec) == normal(wanted.spec) &&
         wanted.before->geometry().block_size == wanted.as.block_size;
}

absl::Status Opening::open() {
  for (Wanted& each : wanted_) {
    if (unchanged(each)) {
      each.volume = each.before;
      // A size that cannot be learned is nothing to refuse a configuration for.
      (void)each.volume->refresh(0);
      continue;
    }
    auto volume = open_volume_(each.as.spec, {.block_size = each.as.block_size,
                                              .replaces = each.before,
                                              .others_leave = each.before == nullptr,
                                              .growth = growth_});
    if (!volume.ok()) return at(each.as, volume.status());
    each.volume = *std::move(volume);
    if (each.before != nullptr) each.volume->succeed(*each.before);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::shared_ptr<Volume>>> open_stores(
    std::span<const WantedStore> wanted, std::span<const ServedStore> served,
    const OpenVolume& open_volume, Growth& growth) {
  return Opening(wanted, served, open_volume, &growth).run();
}

absl::Status keep(Growth& growth, StateDirectory* state) {
  absl::Status status = growth.apply();
  if (status.ok() && state != nullptr) status = state->keep();
  if (!status.ok()) return status;
  for (const Growth::File& file : growth.made()) {
    base::log({.event = base::Event::kStoreCreated,
               .message = absl::StrCat(file.path, ": created, ", base::exact_size(file.bytes))});
  }
  growth.keep();
  return absl::OkStatus();
}

namespace {

// The path of a file with "size=" that does not exist.
std::optional<StoreSpec> to_make(const WantedStore& wanted) {
  auto spec = parse_spec(wanted.spec);
  if (!spec.ok() || spec->scheme != "file" || spec->find("size") == nullptr) return std::nullopt;
  struct stat info {};
  if (::stat(spec->target.c_str(), &info) == 0 || errno != ENOENT) return std::nullopt;
  return *std::move(spec);
}

// As truncate(1) takes it.
std::string coreutils_size(const std::string& text) {
  const auto bytes = base::parse_size(text);
  return std::string(absl::StripSuffix(base::exact_size(bytes.value_or(0)), "iB"));
}

}  // namespace

std::vector<std::string> files_to_make(std::span<const WantedStore> wanted) {
  std::vector<std::string> all;
  for (const WantedStore& each : wanted) {
    if (const auto spec = to_make(each)) {
      all.push_back(absl::StrCat(spec->target, " with ", spec->find("size")->value));
    }
  }
  return all;
}

absl::Status check_not_gone(std::span<const WantedStore> wanted, const StateDirectory* state) {
  if (state == nullptr) return absl::OkStatus();
  for (const WantedStore& each : wanted) {
    const auto spec = to_make(each);
    if (!spec) continue;
    const auto uuid = state->known_at(spec->target);
    if (!uuid) continue;
    return at(each, absl::FailedPreconditionError(absl::StrCat(
                        "the file is gone: the disk ", format_uuid(*uuid),
                        " was served from there. Mount its file system, or restore it; for a new "
                        "and empty disk: truncate -s ",
                        coreutils_size(spec->find("size")->value), " ", spec->target)));
  }
  return absl::OkStatus();
}

absl::Status check_stores(std::span<const WantedStore> wanted) {
  return Opening(wanted, {}, {}, nullptr).check();
}

std::optional<std::string> memory_warning(std::span<const WantedStore> wanted, uint64_t physical) {
  uint64_t needed = 0;
  for (const WantedStore& each : wanted) {
    const uint64_t bytes = memory_of(each.spec, {.block_size = each.block_size});
    needed = bytes > UINT64_MAX - needed ? UINT64_MAX : needed + bytes;
  }
  if (needed <= physical) return std::nullopt;
  return absl::StrCat("stores in memory may need ", base::format_size(needed),
                      ", and this machine has ", base::format_size(physical),
                      "; make them smaller, or the system ends this process once they fill up");
}

uint64_t physical_memory() {
  return uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
}

}  // namespace mrpool::storage
