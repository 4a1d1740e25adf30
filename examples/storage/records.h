// Records of a group of daemons in a remote store: entries that several daemons read and change
// with guards, and fences of clients (RemoteRecordsApi in remote_api.h).
//
// The records are in "rbd:POOL/OBJECT[,conf=FILE][,id=USER][,namespace=NAME]": an object of a Ceph
// cluster.
//
// Thread safety: shared objects: safe. Every call blocks, for some seconds at most if the store
// does not answer. Ownership: images keep nothing of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/storage/remote_api.h"
#include "examples/storage/spec.h"

namespace mrpool::storage {

using RecordEntries = std::map<std::string, std::string, std::less<>>;

class Records {
 public:
  // Checks whether open() takes the text, without reaching the cluster.
  static absl::StatusOr<StoreSpec> parse(std::string_view text);
  static absl::StatusOr<std::unique_ptr<Records>> open(std::string_view text);

  ~Records();
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;

  absl::StatusOr<RecordEntries> read();
  // Makes all changes, if all entries have the values of `guards`. An empty value also means: there
  // is no such entry. Aborted: a guard does not hold, and nothing has changed. On another error the
  // change may have been made, or may still be made.
  absl::Status write(const RecordEntries& guards, const RecordEntries& changes);

  // Gives stores with "client=NAME" a client that connect() has not named before, and returns its
  // address. Stores that had the one before are fenced (Volume::fenced).
  absl::StatusOr<std::string> connect(const std::string& name);
  // The store takes nothing from this client any more.
  absl::Status fence(const std::string& address);
  // Waits until the client of that name knows of the fences so far. A store executes none of its
  // later requests before those that came in time from a fenced client.
  absl::Status settle(const std::string& name);

 private:
  Records(std::string address, const RemoteRecordsApi& api, void* records)
      : address_(std::move(address)), api_(api), records_(records) {}
  absl::Status status_of(int error, const std::string& what) const;

  const std::string address_;
  const RemoteRecordsApi& api_;
  void* const records_;
};

}  // namespace mrpool::storage
