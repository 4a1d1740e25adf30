// Contexts, PDs and MRs of another context of this process.
//
// An imported object is a second ABI structure that leads to the first one's object, so the keys,
// the users and the end of that object are shared.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <set>

#include "transport/provider/command_file.h"
#include "transport/provider/objects.h"

namespace mrpool::provider {
namespace {

struct Exported {
  ino_t file;
  PdObject* pd;
};

// What the contexts of this process share.
struct Shared {
  std::mutex mutex;
  std::multiset<ino_t> files;
  std::map<uint32_t, Exported> exported;  // by handle
  uint32_t last_handle = 0;
};
Shared& shared() {
  static auto* all = new Shared;  // programs close contexts while the process ends, too
  return *all;
}

// 0: no file.
ino_t number_of(int fd) {
  struct stat status {};
  return fd >= 0 && ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

CommandFile::CommandFile(std::optional<int> fd)
    : fd_(fd.has_value() ? *fd : ::memfd_create("mrpool-uverbs", MFD_CLOEXEC)),
      number_(number_of(fd_)) {
  const std::lock_guard lock(shared().mutex);
  shared().files.insert(number_);
}

CommandFile::~CommandFile() {
  {
    const std::lock_guard lock(shared().mutex);
    shared().files.erase(shared().files.find(number_));
  }
  if (fd_ >= 0) ::close(fd_);
}

bool CommandFile::owned(int fd) {
  const ino_t number = number_of(fd);
  const std::lock_guard lock(shared().mutex);
  return number != 0 && shared().files.contains(number);
}

uint32_t CommandFile::add(PdObject& pd) const {
  const std::lock_guard lock(shared().mutex);
  shared().exported[++shared().last_handle] = {number_, &pd};
  return shared().last_handle;
}

void CommandFile::remove(const PdObject& pd) {
  const std::lock_guard lock(shared().mutex);
  shared().exported.erase(pd.handle.abi.handle);
}

PdObject* CommandFile::find(uint32_t handle) const {
  const std::lock_guard lock(shared().mutex);
  const auto found = shared().exported.find(handle);
  const bool mine = found != shared().exported.end() && found->second.file == number_;
  return mine ? found->second.pd : nullptr;
}

}  // namespace mrpool::provider

using mrpool::provider::CommandFile;
using mrpool::provider::ContextObject;
using mrpool::provider::Engine;
using mrpool::provider::fail_null;
using mrpool::provider::Handle;
using mrpool::provider::MrObject;
using mrpool::provider::PdObject;
using mrpool::provider::Session;

extern "C" {

ibv_context* ibv_import_device(int fd) {
  Engine* engine = Engine::get();
  if (engine == nullptr) return nullptr;
  const Session session(*engine);
  if (!session.ok()) return fail_null(EIO);
  // Of another process, or of another device.
  if (!CommandFile::owned(fd)) return fail_null(EOPNOTSUPP);
  return (new ContextObject(*engine, fd))->abi();
}

ibv_pd* ibv_import_pd(ibv_context* abi, uint32_t handle) {
  ContextObject* context = ContextObject::from(abi);
  if (context == nullptr) return fail_null(EINVAL);
  const Session session(context->engine);
  if (!session.ok()) return fail_null(EIO);
  PdObject* pd = context->file.find(handle);
  if (pd == nullptr || pd->engine != &context->engine) return fail_null(EINVAL);
  auto* imported = new Handle<ibv_pd, PdObject>{.abi = pd->handle.abi, .object = pd};
  imported->abi.context = abi;
  return mrpool::provider::told_made("imported PD", &imported->abi);
}

void ibv_unimport_pd(ibv_pd* abi) {
  if (abi == nullptr) return;
  mrpool::provider::tell_ended(abi);
  delete reinterpret_cast<Handle<ibv_pd, PdObject>*>(abi);
}

ibv_mr* ibv_import_mr(ibv_pd* abi, uint32_t handle) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(abi);
  if (pd == nullptr) return fail_null(EINVAL);
  const Session session(*pd->engine);
  if (!session.ok()) return fail_null(EIO);
  const auto found = pd->mrs.find(handle);
  if (found == pd->mrs.end()) return fail_null(EINVAL);
  MrObject& mr = *found->second;
  auto* imported = new Handle<ibv_mr, MrObject>{.abi = mr.handle.abi, .object = &mr};
  imported->abi.context = abi->context;
  imported->abi.pd = abi;
  // The importer is to know where the memory is.
  imported->abi.addr = nullptr;
  imported->abi.length = 0;
  return mrpool::provider::told_made("imported MR", &imported->abi);
}

void ibv_unimport_mr(ibv_mr* abi) {
  if (abi == nullptr) return;
  mrpool::provider::tell_ended(abi);
  delete reinterpret_cast<Handle<ibv_mr, MrObject>*>(abi);
}

ibv_dm* ibv_import_dm(ibv_context*, uint32_t) { return fail_null(EOPNOTSUPP); }
void ibv_unimport_dm(ibv_dm*) {}

}  // extern "C"
