// What a store is, whatever path or name it was opened by.
//
// A file is its device, inode and time of birth, a block device its device number, RAM and null the
// name they were given, an image of a cluster what the cluster knows it by. Two volumes on one
// store have equal identities.
//
// Thread safety: values. Ownership: none.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace mrpool::storage {

class StoreIdentity {
 public:
  enum class Kind : uint8_t { kFile, kBlockDevice, kNamed, kUnnamed, kRemote };

  // An open file or block device; reads what sysfs and statfs know of it.
  static StoreIdentity of(int fd, const struct stat& info);
  // What the path leads to, without opening it: a FIFO or a device is not disturbed.
  static absl::StatusOr<StoreIdentity> of(const std::string& path);
  // RAM or null of that name.
  static StoreIdentity named(const std::string& name);
  // An image that others keep, by its name, perhaps in the whole world: "rbd:FSID:POOL:IMAGE".
  static StoreIdentity remote(const std::string& name, bool world_wide);
  // RAM or null without a name: equal to itself only.
  static StoreIdentity unnamed();

  Kind kind() const { return kind_; }
  // The same text after a restart: it can be kept. False for unnamed ones, and for files on file
  // systems without an identifier of their own (named by a device number that may change).
  bool stable() const { return stable_; }
  // The text names no other store on any machine: a disk's world-wide name, an image of a cluster.
  bool world_wide() const { return world_wide_; }
  // "file:5f3a09c2be11d004:1311:1764381234.123456789", "block:naa.5002538d00000000-part1",
  // "block:8-17", "name:scratch", "unnamed:3". Without blanks, commas and quotation marks.
  const std::string& text() const { return text_; }
  // Of one that is not stable: what it still has in common with itself when its file system, or it,
  // has got another device number; a file its inode and time of birth. Without blanks; empty: none.
  const std::string& lasting() const { return lasting_; }
  // Whether a file or device with this stat(2) is this store, which somebody has open.
  bool is(const struct stat& info) const;

  bool operator==(const StoreIdentity& other) const {
    return kind_ == other.kind_ && device_ == other.device_ && inode_ == other.inode_ &&
           name_ == other.name_;
  }

 private:
  StoreIdentity(Kind kind, uint64_t device, uint64_t inode, std::string name)
      : kind_(kind), device_(device), inode_(inode), name_(std::move(name)) {}

  Kind kind_;
  uint64_t device_;   // of a file: what it lies on; of a block device: its number
  uint64_t inode_;    // unnamed: a number
  std::string name_;  // of a file: its time of birth
  std::string text_;
  std::string lasting_;
  bool stable_ = true;
  bool world_wide_ = false;
};

}  // namespace mrpool::storage
