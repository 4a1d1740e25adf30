// The command descriptor of a context, and how a program shares objects through it.
//
// A kernel's context is a file: who has a descriptor of it may import its PDs and MRs by their
// handles (ibv_import_device, ibv_import_pd, ibv_import_mr). Here the file is an empty one in
// memory that names the context. Only its own process may import: a region is memory of one
// process, which a device in another one does not reach.
//
// Thread safety: any thread; what find() returns is under the engine's lock. Ownership: a
// CommandFile owns its descriptor.
#pragma once

#include <infiniband/verbs.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace mrpool::provider {

struct PdObject;

class CommandFile {
 public:
  // Takes over a descriptor of the file of another context, which owned() has found, or makes a
  // new file. When no descriptor is left, nothing can be imported from it.
  explicit CommandFile(std::optional<int> fd);
  ~CommandFile();
  CommandFile(const CommandFile&) = delete;
  CommandFile& operator=(const CommandFile&) = delete;

  // Whether a context of this process has that file.
  static bool owned(int fd);

  int fd() const { return fd_; }
  // The handle by which `pd` is found from now on.
  uint32_t add(PdObject& pd) const;
  static void remove(const PdObject& pd);
  // Null: none of this file has that handle.
  PdObject* find(uint32_t handle) const;

 private:
  const int fd_;
  const ino_t number_;
};

}  // namespace mrpool::provider
