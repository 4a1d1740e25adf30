#include "examples/storage/plugins/rbd_records.h"

#include <rados/librados.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "examples/storage/plugins/rbd_cluster.h"

namespace mrpool::storage {
namespace {

constexpr uint64_t kEntriesAtOnce = 512;
constexpr uint32_t kFenceSeconds = 24 * 60 * 60;

struct Records {
  Records() = default;
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
  ~Records() {
    if (pool != nullptr) rados_ioctx_destroy(pool);
  }
  Failure open(const RemoteAddress& address);

  Way way;
  std::string pool_name;
  std::string space;  // the pool's namespace
  std::string object;
  std::shared_ptr<Cluster> cluster;  // closed last
  rados_ioctx_t pool = nullptr;
  // Of images, by name: those that connect() has returned. They are there before an image is.
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Cluster>> clients{};
};

Failure Records::open(const RemoteAddress& address) {
  way = way_of(address);
  const std::string_view target = address.target;
  const size_t slash = target.find('/');
  pool_name = target.substr(0, slash);
  object = slash == target.npos ? "" : target.substr(slash + 1);
  const char* name = option_of(address, "namespace");
  space = name == nullptr ? "" : name;
  Failure failed;
  cluster = Cluster::alone(way, Cluster::Patience::kShort, failed);
  if (failed) return failed;
  int error = rados_ioctx_create(cluster->get(), pool_name.c_str(), &pool);
  if (error < 0) {
    pool = nullptr;
    if (error != -ENOENT) return failure(error, "pool " + pool_name);
    return {error,
            "the cluster has no pool \"" + pool_name + "\"; \"ceph osd pool ls\" lists them"};
  }
  rados_ioctx_set_namespace(pool, space.c_str());
  const rados_write_op_t make = rados_create_write_op();
  rados_write_op_create(make, LIBRADOS_CREATE_IDEMPOTENT, nullptr);
  error = rados_write_op_operate(make, pool, object.c_str(), nullptr, 0);
  rados_release_write_op(make);
  if (error >= 0) return {};
  if (error == -EPERM || error == -EACCES) {
    return {error, "the user may not write the object \"" + object +
                       "\"; give it the capability \"profile rbd\" of the pool"};
  }
  return failure(error, "the object \"" + object + "\" cannot be written");
}

int open(const RemoteAddress& address, void** records, char* error, size_t error_size) {
  auto opened = std::make_unique<Records>();
  if (const Failure failed = opened->open(address)) {
    set_error(error, error_size, failed.message.c_str());
    return failed.error;
  }
  *records = opened.release();
  return 0;
}

void close(void* records) { delete static_cast<Records*>(records); }

// Passes on what an operation has read. `last`: the key that is read after, next time.
void pass_on(rados_omap_iter_t entries, std::string& last, void* to,
             void (*each)(void* to, const RemoteEntry& entry)) {
  for (;;) {
    char* key = nullptr;
    char* value = nullptr;
    size_t key_bytes = 0, value_bytes = 0;
    if (rados_omap_get_next2(entries, &key, &value, &key_bytes, &value_bytes) < 0 ||
        key == nullptr) {
      return;
    }
    last.assign(key, key_bytes);
    const std::string text(value, value_bytes);
    if (!text.empty()) each(to, {last.c_str(), text.c_str()});
  }
}

int read(void* records, void* to, void (*each)(void* to, const RemoteEntry& entry)) {
  const auto& self = *static_cast<Records*>(records);
  std::string last;
  for (unsigned char more = 1; more != 0;) {
    more = 0;
    rados_omap_iter_t entries = nullptr;
    int of_entries = 0;
    const rados_read_op_t op = rados_create_read_op();
    rados_read_op_omap_get_vals2(op, last.c_str(), "", kEntriesAtOnce, &entries, &more,
                                 &of_entries);
    int error = rados_read_op_operate(op, self.pool, self.object.c_str(), 0);
    if (error >= 0) error = of_entries;
    if (error >= 0) pass_on(entries, last, to, each);
    if (entries != nullptr) rados_omap_get_end(entries);
    rados_release_read_op(op);
    if (error < 0) return error;
  }
  return 0;
}

int write(void* records, const RemoteEntry* guards, size_t guard_count, const RemoteEntry* changes,
          size_t change_count) {
  const auto& self = *static_cast<Records*>(records);
  const rados_write_op_t op = rados_create_write_op();
  for (const RemoteEntry* each = guards; each != guards + guard_count; ++each) {
    rados_write_op_omap_cmp2(op, each->key, LIBRADOS_CMPXATTR_OP_EQ, each->value,
                             std::strlen(each->key), std::strlen(each->value), nullptr);
  }
  for (const RemoteEntry* each = changes; each != changes + change_count; ++each) {
    const size_t key_bytes = std::strlen(each->key), value_bytes = std::strlen(each->value);
    if (value_bytes == 0) {
      rados_write_op_omap_rm_keys2(op, &each->key, &key_bytes, 1);
    } else {
      rados_write_op_omap_set2(op, &each->key, &each->value, &key_bytes, &value_bytes, 1);
    }
  }
  const int error = rados_write_op_operate(op, self.pool, self.object.c_str(), nullptr, 0);
  rados_release_write_op(op);
  return error < 0 ? error : 0;
}

int connect(void* records, const char* name, char* address, size_t address_size) {
  auto& self = *static_cast<Records*>(records);
  Failure failed;
  auto found = Cluster::replace(self.way, name, failed);
  if (found == nullptr) return failed.error;
  char* text = nullptr;
  const int error = rados_getaddrs(found->get(), &text);
  if (error < 0) return error;
  set_error(address, address_size, text);
  rados_buffer_free(text);
  const std::lock_guard lock(self.mutex);
  std::swap(self.clients[name], found);
  return 0;
}

int fence(void* records, const char* address) {
  const auto& self = *static_cast<Records*>(records);
  // A daemon that was stopped for longer, or a suspended machine, is not expected to go on.
  const int error =
      rados_blocklist_add(self.cluster->get(), const_cast<char*>(address), kFenceSeconds);
  return error < 0 ? error : 0;
}

int settle(void* records, const char* name) {
  auto& self = *static_cast<Records*>(records);
  std::shared_ptr<Cluster> client;
  {
    const std::lock_guard lock(self.mutex);
    client = self.clients[name];
  }
  if (client == nullptr) return -ENOTCONN;  // connect() comes first
  int error = rados_wait_for_latest_osdmap(self.cluster->get());
  if (error >= 0) error = rados_wait_for_latest_osdmap(client->get());
  return error < 0 ? error : 0;
}

}  // namespace

constinit const RemoteRecordsApi kRbdRecords = {.open = &open,
                                                .close = &close,
                                                .read = &read,
                                                .write = &write,
                                                .connect = &connect,
                                                .fence = &fence,
                                                .settle = &settle};

}  // namespace mrpool::storage
