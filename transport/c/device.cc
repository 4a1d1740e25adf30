// Devices, Pds, Mrs and Cqs in C.
#include "mrpool/device.h"

#include <string>

#include "mrpool/tls.h"
#include "transport/c/attributes.h"
#include "transport/c/handles.h"

using mrpool::Access, mrpool::Address, mrpool::Device, mrpool::DeviceCaps, mrpool::Registration;
using mrpool::c::failed, mrpool::c::guarded, mrpool::c::is_null, mrpool::c::object;

static_assert(MRPOOL_ACCESS_LOCAL_WRITE == Access::kLocalWrite.bits());
static_assert(MRPOOL_ACCESS_REMOTE_WRITE == Access::kRemoteWrite.bits());
static_assert(MRPOOL_ACCESS_REMOTE_READ == Access::kRemoteRead.bits());
static_assert(MRPOOL_ACCESS_REMOTE_ATOMIC == Access::kRemoteAtomic.bits());
static_assert(MRPOOL_ACCESS_MW_BIND == Access::kMwBind.bits());
static_assert(MRPOOL_ACCESS_ZERO_BASED == Access::kZeroBased.bits());
static_assert(MRPOOL_ACCESS_ON_DEMAND == Access::kOnDemand.bits());
static_assert(MRPOOL_ACCESS_HUGE_PAGES == Access::kHugePages.bits());
static_assert(MRPOOL_ACCESS_FLUSH_GLOBAL == Access::kFlushGlobal.bits());
static_assert(MRPOOL_ACCESS_FLUSH_PERSISTENT == Access::kFlushPersistent.bits());
static_assert(MRPOOL_ACCESS_DISABLE_RELAXED_ORDERING == Access::kDisableRelaxedOrdering.bits());

uint32_t mrpool_access_to_ibv(uint32_t access) { return mrpool::to_ibv(Access::from_bits(access)); }
uint32_t mrpool_access_from_ibv(uint32_t ibv_access_flags) {
  return mrpool::from_ibv(ibv_access_flags).bits();
}

int mrpool_device_open(const char* address, mrpool_device** device) {
  return guarded([&] {
    if (address == nullptr || device == nullptr) return is_null("address or device");
    const auto parsed = Address::parse(address);
    if (!parsed.ok()) return failed(parsed.status());
    auto opened = Device::open(*parsed);
    if (!opened.ok()) return failed(opened.status());
    *device = new mrpool_device{std::move(*opened)};
    return 0;
  });
}

void mrpool_device_close(mrpool_device* device) { delete device; }

int mrpool_device_reload_tls(mrpool_device* device) {
  return guarded([&] {
    if (device == nullptr) return is_null("device");
    const absl::Status status = reload_tls(*device->device);
    return status.ok() ? 0 : failed(status);
  });
}

int mrpool_device_query(const mrpool_device* device, mrpool_device_attr* attr) {
  if (device == nullptr) return is_null("device");
  const DeviceCaps& caps = device->device->caps();
  mrpool_device_attr all{};
  all.name = caps.name.c_str();
  all.registration = uint32_t(caps.registration) + MRPOOL_FAST_REG;
  all.known_access = caps.access.known.bits();
  all.honored_access = caps.access.honoured.bits();
  all.iwarp = caps.iwarp;
  all.read_sink_needs_remote_write = caps.read_sink_needs_remote_write;
  all.sg_gaps = caps.sg_gaps;
  all.send_with_inv = caps.send_with_inv;
  all.read_with_inv = caps.read_with_inv;
  all.immediate_data = caps.immediate_data;
  all.atomics = uint8_t(caps.atomics);
  all.keys_bound_to_qp = caps.keys_bound_to_qp;
  all.max_qp_wr = caps.max_qp_wr;
  all.max_cqe = caps.max_cqe;
  all.max_sge = caps.max_sge;
  all.max_read_sge = caps.max_read_sge;
  all.max_mr = caps.max_mr;
  all.max_fast_reg_segments = caps.max_fast_reg_segments;
  all.max_message = caps.max_message;
  all.max_ord = caps.max_ord;
  all.max_ird = caps.max_ird;
  all.max_connect_data = caps.max_private_data.connect;
  all.max_accept_data = caps.max_private_data.accept;
  all.max_reject_data = caps.max_private_data.reject;
  return mrpool::c::write(attr, all, "attr");
}

void mrpool_device_statistics(const mrpool_device* device,
                              void (*visit)(void* context, const char* name, uint64_t value),
                              void* context) {
  // The names are literals: each ends with NUL.
  for_each(device->device->statistics(),
           [&](std::string_view name, uint64_t value) { visit(context, name.data(), value); });
}

int mrpool_pd_alloc(mrpool_device* device, mrpool_pd** pd) {
  return guarded([&] {
    if (device == nullptr || pd == nullptr) return is_null("device or pd");
    auto made = device->device->alloc_pd();
    if (!made.ok()) return failed(made.status());
    *pd = mrpool::c::handle<mrpool_pd>(std::move(*made));
    return 0;
  });
}
void mrpool_pd_dealloc(mrpool_pd* pd) { delete object(pd); }

int mrpool_reg_mr(mrpool_pd* pd, void* addr, size_t length, uint32_t access, mrpool_mr** mr) {
  return guarded([&] {
    if (pd == nullptr || mr == nullptr) return is_null("pd or mr");
    auto made =
        object(pd)->reg_mr({static_cast<std::byte*>(addr), length}, Access::from_bits(access));
    if (!made.ok()) return failed(made.status());
    *mr = mrpool::c::handle<mrpool_mr>(std::move(*made));
    return 0;
  });
}
void mrpool_dereg_mr(mrpool_mr* mr) { delete object(mr); }

uint32_t mrpool_mr_lkey(const mrpool_mr* mr) { return object(mr)->lkey().value; }
uint32_t mrpool_mr_rkey(const mrpool_mr* mr) { return object(mr)->rkey().value; }
uint64_t mrpool_mr_remote_addr(const mrpool_mr* mr) { return object(mr)->remote_addr().value; }
mrpool_granted mrpool_mr_granted(const mrpool_mr* mr) {
  const mrpool::Granted& granted = object(mr)->granted();
  return {granted.requested.bits(), granted.effective.bits(), granted.ignored.bits(),
          granted.unknown.bits()};
}
uint32_t mrpool_base_access(const mrpool_device* device, uint32_t rights) {
  return base_access(device->device->caps(), Access::from_bits(rights)).bits();
}

int mrpool_cq_create(mrpool_device* device, mrpool_reactor* reactor, uint32_t depth,
                     mrpool_cq** cq) {
  return guarded([&] {
    if (device == nullptr || reactor == nullptr || cq == nullptr) {
      return is_null("device, reactor or cq");
    }
    auto made = device->device->create_cq(*object(reactor), {.depth = depth});
    if (!made.ok()) return failed(made.status());
    *cq = mrpool::c::handle<mrpool_cq>(std::move(*made));
    return 0;
  });
}
void mrpool_cq_destroy(mrpool_cq* cq) { delete object(cq); }
