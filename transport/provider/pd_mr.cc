// Protection domains and memory regions: where flags of user verbs become ours.
#include <cerrno>

#include "transport/provider/objects.h"
#include "transport/provider/premature_access.h"
#include "transport/uiwarp/mr.h"

namespace mrpool::provider {
namespace {

// Flags that a device may have, as this version of user verbs knows them. Others of the mandatory
// range are invalid; these are refused as unsupported where the device lacks them.
constexpr uint32_t kKnownToVerbs = 0x3ff;

// 0, or the errno with which the kernel refuses the flags.
int check_flags(uint32_t flags, const AccessSupport& support) {
  if ((flags & ~(kKnownToVerbs | kOptionalAccessRange.bits())) != 0) return EINVAL;
  const Access access = from_ibv(flags);
  if (!validate(access).ok()) return EINVAL;
  // Windows are the provider's own.
  if (any(mandatory(access) & ~support.known & ~Access::kMwBind)) return EOPNOTSUPP;
  return 0;
}

struct Region {
  void* addr;
  size_t length;
  uint64_t iova;
  uint32_t flags;
};

// What the device is asked for.
Access effective_access(const PdObject& pd, uint32_t flags, bool zero_based) {
  Access access = from_ibv(flags);
  if (pd.engine->relaxed()) access = access & ~Access::kDisableRelaxedOrdering;
  return zero_based ? access | Access::kZeroBased : access;
}

// Registers `region` and enters it into `object`; 0 or an errno. Nothing changes on failure.
int enter(PdObject& pd, MrObject& object, const Region& region) {
  Statistics& statistics = pd.engine->statistics();
  ++statistics.asked[region.flags];
  const uint32_t flags = region.flags;
  int error = check_flags(flags, pd.pd->caps().access);
  const bool own_address = region.iova == reinterpret_cast<uintptr_t>(region.addr);
  const bool zero_based =
      (flags & IBV_ACCESS_ZERO_BASED) != 0 || (region.iova == 0 && !own_address);
  // Peers name bytes by their address or by their offset; the device knows no third way.
  if (error == 0 && !own_address && region.iova != 0) error = EOPNOTSUPP;
  if (error == 0 && (region.addr == nullptr || region.length == 0)) error = EINVAL;
  if (error != 0) {
    ++statistics.mrs_refused;
    return error;
  }
  const Access access = effective_access(pd, flags, zero_based);
  auto mr = pd.pd->reg_mr({static_cast<std::byte*>(region.addr), region.length},
                          access & ~Access::kMwBind);
  if (!mr.ok()) {
    ++statistics.mrs_refused;
    // The flags were checked above: what is wrong is the memory.
    return absl::IsInvalidArgument(mr.status()) ? EFAULT : to_errno(mr.status());
  }
  object.pd = &pd;
  object.mr = *std::move(mr);
  object.sink.reset();
  object.access = access;
  object.zero_based = zero_based;
  ++statistics.effective[object.mr->granted().effective];
  ibv_mr& abi = object.handle.abi;
  abi.context = pd.handle.abi.context;
  abi.pd = &pd.handle.abi;
  abi.addr = region.addr;
  abi.length = region.length;
  abi.lkey = object.mr->lkey().value;
  abi.rkey = object.mr->rkey().value;
  abi.handle = abi.lkey;
  pd.mrs[abi.lkey] = &object;
  if (zero_based) ++pd.zero_based;
  ++pd.users;
  return 0;
}

// Other rights for a region that keeps its memory and its keys; 0 or an errno.
int change_access(MrObject& object, uint32_t flags) {
  PdObject& pd = *object.pd;
  Statistics& statistics = pd.engine->statistics();
  ++statistics.asked[flags];
  int error = check_flags(flags, pd.pd->caps().access);
  Access access = effective_access(pd, flags, object.zero_based);
  if (error == 0) {
    auto& mr = static_cast<uiwarp::UiwarpMr&>(*object.mr);
    const absl::Status status = mr.change_access(*pd.pd, access & ~Access::kMwBind);
    error = absl::IsInvalidArgument(status) ? EFAULT : status.ok() ? 0 : to_errno(status);
  }
  if (error != 0) {
    ++statistics.mrs_refused;
    return error;
  }
  object.sink.reset();
  object.access = access;
  ++statistics.effective[object.mr->granted().effective];
  return 0;
}

void leave(MrObject& object) {
  PdObject& pd = *object.pd;
  pd.mrs.erase(object.handle.abi.lkey);
  if (object.zero_based) --pd.zero_based;
  --pd.users;
}

// The checker learns of the regions that the program knows.
void tell_region_made(const MrObject& object, uint32_t flags) {
  const ibv_mr& mr = object.handle.abi;
  // An iova of 0 makes offsets of addresses, too.
  if (object.zero_based) flags |= IBV_ACCESS_ZERO_BASED;
  if (Checker* checker = Checker::get()) checker->region_made(mr, flags);
  if (PrematureAccess* checked = PrematureAccess::get()) checked->region_made(mr);
}
void tell_region_ended(const ibv_mr& mr) {
  if (Checker* checker = Checker::get()) checker->region_ended(mr);
  if (PrematureAccess* checked = PrematureAccess::get()) checked->region_ended(mr);
}

ibv_mr* reg(ibv_pd* abi, const Region& region) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(abi);
  if (pd == nullptr) return fail_null(EINVAL);
  const Session session(*pd->engine);
  if (!session.ok()) return fail_null(EIO);
  auto object = std::make_unique<MrObject>();
  object->handle.object = object.get();
  if (const int error = enter(*pd, *object, region); error != 0) return fail_null(error);
  Statistics& statistics = pd->engine->statistics();
  ++statistics.mrs;
  statistics.mrs_high = std::max(statistics.mrs_high, ++statistics.mrs_now);
  tell_region_made(*object, region.flags);
  return &object.release()->handle.abi;
}

}  // namespace

std::optional<Sge> PdObject::translate(const ibv_sge& sge, bool read_sink) {
  Sge out{reinterpret_cast<std::byte*>(sge.addr), sge.length, Lkey{sge.lkey}};
  if (!read_sink && zero_based == 0) [[likely]]
    return out;
  const auto found = mrs.find(sge.lkey);
  if (found == mrs.end()) return out;  // the device refuses it by its own rule
  MrObject& mr = *found->second;
  if (mr.zero_based) out.addr = mr.mr->memory().data() + sge.addr;
  if (!read_sink || has(mr.access, Access::kRemoteWrite) || !has(mr.access, Access::kLocalWrite)) {
    return out;
  }
  if (mr.sink == nullptr) {
    auto sink = pd->reg_mr(mr.mr->memory(), (mr.access & ~kRemoteRights & ~Access::kMwBind) |
                                                local_access_for(BufferRole::kReadSink, true));
    if (!sink.ok()) return std::nullopt;
    mr.sink = *std::move(sink);
  }
  out.lkey = mr.sink->lkey();
  return out;
}

}  // namespace mrpool::provider

using mrpool::provider::ContextObject;
using mrpool::provider::fail;
using mrpool::provider::fail_null;
using mrpool::provider::Handle;
using mrpool::provider::MrObject;
using mrpool::provider::PdObject;
using mrpool::provider::Session;

extern "C" {

ibv_pd* ibv_alloc_pd(ibv_context* abi) {
  ContextObject* context = ContextObject::from(abi);
  if (context == nullptr) return fail_null(EINVAL);
  const Session session(context->engine);
  if (!session.ok()) return fail_null(EIO);
  auto made = context->engine.device().alloc_pd();
  if (!made.ok()) return fail_null(mrpool::provider::to_errno(made.status()));
  auto* pd = new PdObject;
  pd->handle.object = pd;
  pd->handle.abi.context = abi;
  pd->engine = &context->engine;
  pd->pd = *std::move(made);
  pd->handle.abi.handle = context->file.add(*pd);
  return mrpool::provider::told_made("PD", &pd->handle.abi);
}

int ibv_dealloc_pd(ibv_pd* abi) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(abi);
  if (pd == nullptr) return fail(EINVAL);
  const Session session(*pd->engine);
  if (!session.ok()) return fail(EIO);
  if (abi != &pd->handle.abi) return fail(EINVAL);  // an import: ibv_unimport_pd
  if (pd->users != 0) return fail(EBUSY);
  mrpool::provider::tell_ended(abi);
  mrpool::provider::CommandFile::remove(*pd);
  delete pd;
  return 0;
}

#undef ibv_reg_mr
ibv_mr* ibv_reg_mr(ibv_pd* pd, void* addr, size_t length, int access) {
  return mrpool::provider::reg(
      pd, {addr, length, reinterpret_cast<uintptr_t>(addr), static_cast<uint32_t>(access)});
}

#undef ibv_reg_mr_iova
ibv_mr* ibv_reg_mr_iova(ibv_pd* pd, void* addr, size_t length, uint64_t iova, int access) {
  return mrpool::provider::reg(pd, {addr, length, iova, static_cast<uint32_t>(access)});
}

ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* addr, size_t length, uint64_t iova,
                         unsigned int access) {
  return mrpool::provider::reg(pd, {addr, length, iova, access});
}

int ibv_rereg_mr(ibv_mr* abi, int flags, ibv_pd* new_pd, void* addr, size_t length, int access) {
  MrObject* mr = Handle<ibv_mr, MrObject>::from(abi);
  constexpr int kAll =
      IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_PD | IBV_REREG_MR_CHANGE_ACCESS;
  const bool imported = mr != nullptr && abi != &mr->handle.abi;
  if (mr == nullptr || imported || flags == 0 || (flags & ~kAll) != 0) {
    errno = EINVAL;
    return IBV_REREG_MR_ERR_INPUT;
  }
  const Session session(*mr->pd->engine);
  PdObject* pd = mr->pd;
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) pd = Handle<ibv_pd, PdObject>::from(new_pd);
  const bool move = (flags & IBV_REREG_MR_CHANGE_TRANSLATION) != 0;
  // What the region was asked for, unless it changes; the optional flags are not kept.
  uint32_t asked = mrpool::to_ibv(mr->access);
  if ((flags & IBV_REREG_MR_CHANGE_ACCESS) != 0) asked = static_cast<uint32_t>(access);
  const bool same_base = mr->zero_based || (asked & IBV_ACCESS_ZERO_BASED) == 0;
  if (session.ok() && flags == IBV_REREG_MR_CHANGE_ACCESS && same_base) {
    // As on NICs, the keys stay.
    if (const int error = mrpool::provider::change_access(*mr, asked); error != 0) {
      errno = error;
      return IBV_REREG_MR_ERR_INPUT;
    }
    mrpool::provider::tell_region_ended(*abi);
    mrpool::provider::tell_region_made(*mr, asked);
    return 0;
  }
  void* const start = move ? addr : abi->addr;
  const uint64_t iova =
      mr->zero_based && !move ? 0 : static_cast<uint64_t>(reinterpret_cast<uintptr_t>(start));
  MrObject fresh;
  if (!session.ok() || pd == nullptr ||
      mrpool::provider::enter(*pd, fresh, {start, move ? length : abi->length, iova, asked}) != 0) {
    errno = EINVAL;
    return IBV_REREG_MR_ERR_INPUT;
  }
  mrpool::provider::tell_region_ended(*abi);
  mrpool::provider::leave(*mr);
  fresh.handle.object = mr;
  pd->mrs[fresh.handle.abi.lkey] = mr;
  *mr = std::move(fresh);
  mrpool::provider::tell_region_made(*mr, asked);
  return 0;
}

int ibv_dereg_mr(ibv_mr* abi) {
  MrObject* mr = Handle<ibv_mr, MrObject>::from(abi);
  // An import: ibv_unimport_mr.
  if (mr == nullptr || abi != &mr->handle.abi) return fail(EINVAL);
  const Session session(*mr->pd->engine);
  if (!session.ok()) return fail(EIO);
  mrpool::provider::tell_region_ended(*abi);
  --mr->pd->engine->statistics().mrs_now;
  mrpool::provider::leave(*mr);
  delete mr;
  return 0;
}

}  // extern "C"
