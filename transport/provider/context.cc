// Device list, contexts and what can be asked of them.
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>

#include "transport/provider/limits.h"
#include "transport/provider/objects.h"
#include "transport/provider/options.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {
namespace {

ibv_gid mapped_gid(const in_addr& address) {
  ibv_gid gid{};
  gid.raw[10] = gid.raw[11] = 0xff;
  std::memcpy(gid.raw + 12, &address, sizeof address);
  return gid;
}

// Programs that know another device's structure look for their mark after the ABI's part of it.
struct DeviceAbi {
  ibv_device device;
  void* beyond[64];
};

DeviceAbi make_device_abi() {
  DeviceAbi abi{};
  abi.device.node_type = is_iwarp() ? IBV_NODE_RNIC : IBV_NODE_CA;
  abi.device.transport_type = is_iwarp() ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
  std::strncpy(abi.device.name, kDeviceName, sizeof abi.device.name - 1);
  std::strncpy(abi.device.dev_name, kDeviceFile, sizeof abi.device.dev_name - 1);
  std::strncpy(abi.device.dev_path, "/nonexistent/mrpool", sizeof abi.device.dev_path - 1);
  std::strncpy(abi.device.ibdev_path, "/nonexistent/mrpool", sizeof abi.device.ibdev_path - 1);
  return abi;
}

// An iWARP NIC's only GID is its link-layer address.
ibv_gid iwarp_gid() {
  constexpr unsigned char kAddress[6] = {0x02, 'm', 'r', 'p', 'o', 'l'};
  ibv_gid gid{};
  std::memcpy(gid.raw, kAddress, sizeof kAddress);
  return gid;
}

__be64 node_guid() {
  // "mrpool" under a locally administered prefix.
  constexpr unsigned char kGuid[8] = {0x02, 0x00, 'm', 'r', 'p', 'o', 'o', 'l'};
  __be64 guid;
  std::memcpy(&guid, kGuid, sizeof guid);
  return guid;
}

}  // namespace

std::vector<ibv_gid> local_gids() {
  if (is_iwarp()) return {iwarp_gid()};
  std::vector<ibv_gid> gids;
  in_addr loopback{htonl(INADDR_LOOPBACK)};
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) == 0) {
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
      if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
      if ((each->ifa_flags & IFF_UP) == 0 || (each->ifa_flags & IFF_LOOPBACK) != 0) continue;
      if (gids.size() + 1 == kGids) break;
      gids.push_back(mapped_gid(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr));
    }
    ::freeifaddrs(all);
  }
  gids.push_back(mapped_gid(loopback));
  return gids;
}

ibv_device* device_abi() {
  static DeviceAbi abi = make_device_abi();
  return &abi.device;
}

ContextObject::ContextObject(Engine& owner, std::optional<int> command_fd)
    : engine(owner), file(command_fd) {
  handle.object = this;
  fill_table(handle.abi);
  ibv_context& context = handle.abi.context;
  context.device = device_abi();
  context.cmd_fd = file.fd();
  context.async_fd = async.fd();
  context.num_comp_vectors = 1;
  ::pthread_mutex_init(&context.mutex, nullptr);
  context.abi_compat = __VERBS_ABI_IS_EXTENDED;
}

ContextObject::~ContextObject() { ::pthread_mutex_destroy(&handle.abi.context.mutex); }

ContextObject* ContextObject::from(ibv_context* context) {
  if (context == nullptr) return nullptr;
  const auto* bytes = reinterpret_cast<std::byte*>(context) - offsetof(verbs_context, context);
  return reinterpret_cast<const Abi*>(bytes)->object;
}

int to_errno(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kUnimplemented:
      return EOPNOTSUPP;
    case absl::StatusCode::kAlreadyExists:
      return EADDRINUSE;
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    default:
      return EADDRNOTAVAIL;
  }
}

int query_device_ex(ibv_context* context, const ibv_query_device_ex_input*,
                    ibv_device_attr_ex* attr, size_t size) {
  if (context == nullptr || attr == nullptr) return fail(EINVAL);
  ibv_device_attr_ex full{};
  if (const int error = ibv_query_device(context, &full.orig_attr); error != 0) return error;
  full.phys_port_cnt_ex = 1;
  std::memset(attr, 0, size);
  std::memcpy(attr, &full, std::min(size, sizeof full));
  return 0;
}

int query_port(ibv_context* context, uint8_t port, ibv_port_attr* attr, size_t size) {
  if (context == nullptr || attr == nullptr || port != 1) return fail(EINVAL);
  ibv_port_attr full{};
  full.state = IBV_PORT_ACTIVE;
  full.max_mtu = full.active_mtu = IBV_MTU_4096;
  full.gid_tbl_len = is_iwarp() ? 1 : kGids;
  full.max_msg_sz = 1u << 30;
  full.pkey_tbl_len = 1;
  full.max_vl_num = 1;
  full.active_width = 2;   // 4X
  full.active_speed = 32;  // EDR
  full.phys_state = 5;     // link up
  full.link_layer = IBV_LINK_LAYER_ETHERNET;
  std::memset(attr, 0, size);
  std::memcpy(attr, &full, std::min(size, sizeof full));
  return 0;
}

}  // namespace mrpool::provider

using mrpool::provider::ContextObject;
using mrpool::provider::device_abi;
using mrpool::provider::Engine;
using mrpool::provider::fail;
using mrpool::provider::fail_null;
using mrpool::provider::local_gids;

extern "C" {

ibv_device** ibv_get_device_list(int* count) {
  auto** list = static_cast<ibv_device**>(std::calloc(2, sizeof(ibv_device*)));
  if (list == nullptr) return fail_null(ENOMEM);
  list[0] = device_abi();
  if (count != nullptr) *count = 1;
  return list;
}

void ibv_free_device_list(ibv_device** list) { std::free(list); }

const char* ibv_get_device_name(ibv_device* device) {
  return device == nullptr ? nullptr : device->name;
}

int ibv_get_device_index(ibv_device*) { return -1; }

__be64 ibv_get_device_guid(ibv_device*) { return mrpool::provider::node_guid(); }

ibv_context* ibv_open_device(ibv_device* device) {
  if (device != device_abi()) return fail_null(ENODEV);
  Engine* engine = Engine::get();
  if (engine == nullptr) return nullptr;
  return (new ContextObject(*engine))->abi();
}

int ibv_close_device(ibv_context* context) {
  if (context == nullptr) return fail(EINVAL);
  delete ContextObject::from(context);
  return 0;
}

int ibv_query_device(ibv_context* context, ibv_device_attr* attr) {
  if (context == nullptr || attr == nullptr) return fail(EINVAL);
  const mrpool::DeviceCaps& caps = mrpool::provider::engine_of(context).device().caps();
  *attr = {};
  std::strncpy(attr->fw_ver, "mrpool", sizeof attr->fw_ver - 1);
  attr->node_guid = attr->sys_image_guid = mrpool::provider::node_guid();
  attr->max_mr_size = UINT64_MAX;
  attr->page_size_cap = 0xfffff000;
  attr->max_qp = mrpool::provider::kMaxObjects;
  attr->max_qp_wr = static_cast<int>(caps.max_qp_wr);
  attr->max_sge = static_cast<int>(caps.max_sge);
  attr->max_sge_rd = static_cast<int>(caps.max_read_sge);
  attr->max_cq = mrpool::provider::kMaxObjects;
  attr->max_cqe = mrpool::provider::kMaxCqEntries;
  attr->max_mr = static_cast<int>(caps.max_mr);
  attr->max_pd = mrpool::provider::kMaxObjects;
  attr->max_mw = attr->max_mr;
  attr->vendor_id = mrpool::provider::kVendorId;
  attr->hw_ver = 1;
  attr->device_cap_flags = IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B;
  attr->max_qp_rd_atom = caps.max_ird;
  attr->max_qp_init_rd_atom = caps.max_ord;
  attr->max_res_rd_atom = mrpool::provider::kMaxObjects * caps.max_ird;
  attr->atomic_cap =
      caps.atomics == mrpool::AtomicScope::kMachine ? IBV_ATOMIC_GLOB : IBV_ATOMIC_NONE;
  attr->max_srq = mrpool::provider::kMaxObjects;
  attr->max_srq_wr = static_cast<int>(caps.max_qp_wr);
  attr->max_srq_sge = static_cast<int>(caps.max_sge);
  attr->max_pkeys = 1;
  attr->phys_port_cnt = 1;
  return 0;
}

// The exported function fills what old programs know of the structure.
#undef ibv_query_port
int ibv_query_port(ibv_context* context, uint8_t port, _compat_ibv_port_attr* attr) {
  constexpr size_t kOldBytes = offsetof(ibv_port_attr, port_cap_flags2);
  return mrpool::provider::query_port(context, port, reinterpret_cast<ibv_port_attr*>(attr),
                                      kOldBytes);
}

int ibv_query_gid(ibv_context* context, uint8_t port, int index, ibv_gid* gid) {
  if (context == nullptr || gid == nullptr || port != 1) {
    errno = EINVAL;
    return -1;
  }
  const auto gids = local_gids();
  if (index < 0 || index >= mrpool::provider::kGids) {
    errno = EINVAL;
    return -1;
  }
  *gid = static_cast<size_t>(index) < gids.size() ? gids[index] : ibv_gid{};
  return 0;
}

int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                      uint32_t flags, size_t size) {
  if (context == nullptr || entry == nullptr || port != 1 || flags != 0 ||
      size < sizeof(ibv_gid_entry)) {
    return fail(EINVAL);
  }
  const auto gids = local_gids();
  if (index >= gids.size()) return fail(ENODATA);
  *entry = {.gid = gids[index],
            .gid_index = index,
            .port_num = port,
            .gid_type = mrpool::provider::is_iwarp() ? IBV_GID_TYPE_IB : IBV_GID_TYPE_ROCE_V2,
            .ndev_ifindex = 0};
  return 0;
}

ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries, size_t max,
                             uint32_t flags, size_t size) {
  if (context == nullptr || (entries == nullptr && max > 0)) return -EINVAL;
  if (max < local_gids().size()) return -EINVAL;
  size_t count = 0;
  while (count < max && _ibv_query_gid_ex(context, 1, static_cast<uint32_t>(count), entries + count,
                                          flags, size) == 0) {
    ++count;
  }
  return static_cast<ssize_t>(count);
}

// Private to rdma-core, but perftest and ibv_devinfo call it. 0: not RoCE v2, 1: RoCE v2.
int ibv_query_gid_type(ibv_context* context, uint8_t port, unsigned int index, unsigned int* type) {
  if (context == nullptr || type == nullptr || port != 1 || index >= local_gids().size()) {
    errno = EINVAL;
    return -1;
  }
  *type = mrpool::provider::is_iwarp() ? 0 : 1;
  return 0;
}

int ibv_query_pkey(ibv_context* context, uint8_t port, int index, __be16* pkey) {
  if (context == nullptr || pkey == nullptr || port != 1 || index != 0) {
    errno = EINVAL;
    return -1;
  }
  *pkey = htons(0xffff);
  return 0;
}

int ibv_get_pkey_index(ibv_context* context, uint8_t port, __be16 pkey) {
  if (context == nullptr || port != 1 || pkey != htons(0xffff)) {
    errno = EINVAL;
    return -1;
  }
  return 0;
}

int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  if (context == nullptr || event == nullptr) {
    errno = EINVAL;
    return -1;
  }
  ContextObject& object = *ContextObject::from(context);
  for (;;) {
    if (mrpool::provider::wait_for_event(object.async.fd()) != 0) return -1;
    const mrpool::provider::Session session(object.engine);
    const auto taken = object.async.take();
    if (!taken.has_value()) continue;
    *event = *taken;
    return 0;
  }
}

void ibv_ack_async_event(ibv_async_event*) {}

int ibv_fork_init() { return 0; }
ibv_fork_status ibv_is_fork_initialized() { return IBV_FORK_UNNEEDED; }

}  // extern "C"
