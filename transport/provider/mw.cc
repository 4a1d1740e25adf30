#include "transport/provider/mw.h"

#include <cerrno>

#include "transport/provider/qp_object.h"
#include "transport/provider/verbs_table.h"
#include "transport/uiwarp/fast_mr.h"

namespace mrpool::provider {
namespace {

// Every right that a bind may ask for.
constexpr Access kCeiling = kRemoteRights | Access::kLocalWrite;
constexpr uint32_t kKeyPart = 0xff;

std::shared_ptr<uiwarp::UiwarpFastMr> make_fast_mr(PdObject& pd) {
  auto made = pd.pd->alloc_fast_mr({.max_segments = 1, .ceiling = kCeiling});
  if (!made.ok()) return nullptr;
  return std::shared_ptr<uiwarp::UiwarpFastMr>(
      static_cast<uiwarp::UiwarpFastMr*>((*std::move(made)).release()));
}

}  // namespace

int MwBind::set_range(const ibv_mw_bind_info& info, PdObject& pd) {
  constexpr uint32_t kAllowed = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
                                IBV_ACCESS_ZERO_BASED;
  MrObject* region = Handle<ibv_mr, MrObject>::from(info.mr);
  if (region == nullptr || (info.mw_access_flags & ~kAllowed) != 0) return EINVAL;
  if (region->pd != &pd) return EPERM;
  if (!has(region->access, Access::kMwBind) || info.length > UINT32_MAX) return EINVAL;
  access = from_ibv(info.mw_access_flags) & ~Access::kDisableRelaxedOrdering;
  if (any(access & kRemoteRights & ~Access::kRemoteRead)) access |= Access::kLocalWrite;
  range = {reinterpret_cast<std::byte*>(info.addr), static_cast<uint32_t>(info.length),
           region->mr->lkey()};
  if (region->zero_based) range.addr = region->mr->memory().data() + info.addr;
  return 0;
}

int MwBind::fill(const ibv_send_wr& wr, PdObject& pd) {
  MwObject* mw = MwObject::from(wr.bind_mw.mw);
  if (mw == nullptr || mw->handle.abi.type != IBV_MW_TYPE_2) return EINVAL;
  if (mw->pd != &pd) return EPERM;
  if (((wr.bind_mw.rkey ^ mw->handle.abi.rkey) & ~kKeyPart) != 0) return EINVAL;
  if (wr.bind_mw.bind_info.length == 0) return EINVAL;
  mr = mw->mr;
  ends.reset();
  key_part = static_cast<uint8_t>(wr.bind_mw.rkey & kKeyPart);
  return set_range(wr.bind_mw.bind_info, pd);
}

int MwBind::fill(MwObject& mw, const ibv_mw_bind_info& info) {
  // A bind of no bytes ends the window: a key that gives no rights takes its place.
  ibv_mw_bind_info wanted = info;
  if (wanted.mr != nullptr && wanted.length == 0) {
    MrObject& region = *Handle<ibv_mr, MrObject>::from(wanted.mr);
    wanted.addr = region.zero_based ? 0 : reinterpret_cast<uintptr_t>(wanted.mr->addr);
    wanted.length = 1;
    wanted.mw_access_flags = 0;
  }
  if (const int error = set_range(wanted, *mw.pd); error != 0) return error;
  auto fresh = make_fast_mr(*mw.pd);
  if (fresh == nullptr) return ENOMEM;
  fresh->open_to_pd();
  mr = fresh;
  ends = std::exchange(mw.mr, std::move(fresh));
  key_part = static_cast<uint8_t>(mr->rkey().value & kKeyPart);
  mw.handle.abi.rkey = mr->rkey().value;
  return 0;
}

bool MwBind::must_wait() const { return mr->live() || mr->pending(); }

bool MwBind::has_key(Rkey rkey) const { return mr->rkey().value == rkey.value; }

uint32_t MwBind::key() const { return (mr->rkey().value & ~kKeyPart) | key_part; }

std::optional<Rkey> MwBind::key_to_end() const {
  if (ended_ || ends == nullptr || !(ends->live() || ends->pending())) return std::nullopt;
  return ends->rkey();
}

void MwBind::key_ended(bool by_request) {
  ended_ = true;
  if (!by_request && ends->live()) ends->invalidate();
}

FastMr* MwBind::fast_mr() const { return mr.get(); }

bool MwBind::map() {
  if (must_wait()) return false;
  mr->set_key_part(key_part);
  return mr->map({&range, 1}) == 1;
}

ibv_mw* alloc_mw(ibv_pd* abi, ibv_mw_type type) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(abi);
  if (pd == nullptr) return fail_null(EINVAL);
  if (type != IBV_MW_TYPE_1 && type != IBV_MW_TYPE_2) return fail_null(EINVAL);
  const Session session(*pd->engine);
  if (!session.ok()) return fail_null(EIO);
  auto mw = std::make_unique<MwObject>();
  mw->mr = make_fast_mr(*pd);
  if (mw->mr == nullptr) return fail_null(ENOMEM);
  mw->pd = pd;
  mw->handle.object = mw.get();
  ibv_mw& out = mw->handle.abi;
  out.context = abi->context;
  out.pd = abi;
  out.rkey = mw->mr->rkey().value;
  out.handle = out.rkey;
  out.type = type;
  ++pd->users;
  return told_made("memory window", &mw.release()->handle.abi);
}

int bind_mw(ibv_qp* qp_abi, ibv_mw* abi, ibv_mw_bind* bind) {
  QpObject* qp = QpObject::from(qp_abi);
  MwObject* mw = MwObject::from(abi);
  if (qp == nullptr || mw == nullptr || bind == nullptr) return fail(EINVAL);
  const Session session(qp->engine());
  if (!session.ok()) return fail(EIO);
  return qp->bind(*mw, *bind);
}

int dealloc_mw(ibv_mw* abi) {
  MwObject* mw = MwObject::from(abi);
  if (mw == nullptr) return fail(EINVAL);
  const Session session(*mw->pd->engine);
  if (!session.ok()) return fail(EIO);
  if (mw->mr->live()) mw->mr->invalidate();
  --mw->pd->users;
  tell_ended(abi);
  delete mw;
  return 0;
}

}  // namespace mrpool::provider
