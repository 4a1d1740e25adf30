#include "mrpool/access.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace mrpool {
namespace {

struct Name {
  Access flag;
  std::string_view text;
};

constexpr Name kNames[] = {
    {Access::kLocalWrite, "local_write"},
    {Access::kRemoteWrite, "remote_write"},
    {Access::kRemoteRead, "remote_read"},
    {Access::kRemoteAtomic, "remote_atomic"},
    {Access::kMwBind, "mw_bind"},
    {Access::kZeroBased, "zero_based"},
    {Access::kOnDemand, "on_demand"},
    {Access::kHugePages, "huge_pages"},
    {Access::kFlushGlobal, "flush_global"},
    {Access::kFlushPersistent, "flush_persistent"},
    {Access::kDisableRelaxedOrdering, "disable_relaxed_ordering"},
};

std::string name_of(uint32_t bit) {
  for (const Name& name : kNames) {
    if (name.flag.bits() == 1u << bit) return std::string(name.text.data(), name.text.size());
  }
  return absl::StrCat("bit ", bit);
}

}  // namespace

std::string to_string(Access access) {
  if (!any(access)) return "none";
  std::string out;
  for (uint32_t bit = 0; bit < 32; ++bit) {
    if (!any(access & Access::from_bits(1u << bit))) continue;
    if (!out.empty()) out += '|';
    out += name_of(bit);
  }
  return out;
}

absl::Status validate(Access access) {
  if (const Access outside = access & Access::from_bits(0xc0000000u); any(outside)) {
    return absl::InvalidArgumentError(
        absl::StrCat("access flag ", to_string(outside),
                     " is outside both ranges (mandatory 0..19, optional ", "20..29)"));
  }
  for (const Access remote : {Access::kRemoteWrite, Access::kRemoteAtomic}) {
    if (any(access & remote) && !any(access & Access::kLocalWrite)) {
      return absl::InvalidArgumentError(
          absl::StrCat(to_string(remote),
                       " needs local_write: verbs lets no peer write what its owner may not; ",
                       "add local_write"));
    }
  }
  return absl::OkStatus();
}

absl::Status grant(Access requested, const AccessSupport& support, Granted& granted) {
  if (absl::Status status = validate(requested); !status.ok()) return status;
  const Access refused = mandatory(requested) & ~support.known;
  for (uint32_t bit = 0; bit < 20; ++bit) {
    if (!any(refused & Access::from_bits(1u << bit))) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the device does not know the mandatory access flag ", name_of(bit),
                     "; it knows ", to_string(support.known)));
  }
  const Access wanted = optional(requested);
  const Access honoured = wanted & support.honoured;
  const Access rest = wanted & ~support.honoured;
  granted = Granted{
      .requested = requested,
      .effective = mandatory(requested) | honoured,
      .ignored = support.reports_optional ? rest : Access::kNone,
      .unknown = support.reports_optional ? Access::kNone : rest,
  };
  return absl::OkStatus();
}

}  // namespace mrpool
