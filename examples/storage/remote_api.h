// What a plugin of remote stores offers: a table of functions, which the daemon finds in a shared
// object by the name kRemoteApiSymbol. So the daemon links no library of a cluster.
//
// Plugin and daemon are built from one tree; `version` refuses another one's. The table needs
// nothing of this project but this header.
//
// A plugin may also have records of a group: the entries of one object in the store, which several
// daemons read and change, and the fences that their records describe (RemoteRecordsApi).
//
// Thread safety: every function from any thread. submit() never blocks; the others may.
// Ownership: open() makes an image, close() ends it. What a request points to stays the caller's
// and stays as it is until `done`.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace mrpool::storage {

struct RemoteOption {
  const char* name;
  const char* value;
};

struct RemoteAddress {
  const char* target;  // "POOL/IMAGE"
  const RemoteOption* options;
  size_t option_count;
  bool read_only;  // nothing is to be written
};

// What the image calls while it is open, from threads of its own. Neither may call the plugin.
struct RemoteEvents {
  void* owner;
  void (*resized)(void* owner, uint64_t bytes);
};

struct RemoteInfo {
  uint64_t bytes;
  char identity[512];   // what it is
  bool world_wide;      // nothing else is called so, on any machine
  bool read_only;       // it cannot be written
  bool volatile_cache;  // completed writes need kFlush to be durable
  bool deallocate;      // kDeallocate gives space back
  bool zeroes;          // kWriteZeroes is there
};

enum class RemoteOp : uint8_t { kRead, kWrite, kFlush, kWriteZeroes, kDeallocate };

struct RemoteRequest {
  // Called once, from any thread, when submit() returned 0. `result`: a negative errno; else of a
  // read how many bytes it got. The request may be gone when this returns.
  void (*done)(RemoteRequest& self, int64_t result);
  void* image;  // the plugin's while it has the request
  const iovec* buffers;
  uint64_t offset;
  uint64_t length;
  uint32_t buffer_count;
  RemoteOp op;
  bool deallocate;  // kWriteZeroes: space may be given back
};

// An entry of the records. Values are text without zero bytes; an entry with an empty value is as
// one that does not exist.
struct RemoteEntry {
  const char* key;
  const char* value;
};

// The records of a group of daemons. All calls end within some seconds when the store does not
// answer. All return a negative errno on an error.
struct RemoteRecordsApi {
  // The address: "POOL/OBJECT" and the options of an image's. Makes the object if needed. Images
  // have other clients.
  int (*open)(const RemoteAddress& address, void** records, char* error, size_t error_size);
  // No other call is under way.
  void (*close)(void* records);
  // Calls `each` for each entry.
  int (*read)(void* records, void* to, void (*each)(void* to, const RemoteEntry& entry));
  // Makes all changes if all entries have the values of `guards`, otherwise none: -ECANCELED.
  int (*write)(void* records, const RemoteEntry* guards, size_t guard_count,
               const RemoteEntry* changes, size_t change_count);
  // Images with "client=NAME" get a new client from now on, if they had one that connect() has
  // named before; its images are fenced then (`fenced` of RemoteApi). `address` is the new
  // client's: no other client has it, at any time.
  int (*connect)(void* records, const char* name, char* address, size_t address_size);
  // The store takes nothing from the client any more, for a day.
  int (*fence)(void* records, const char* address);
  // Waits until the client that images with "client=NAME" have knows of all fences so far.
  int (*settle)(void* records, const char* name);
};

struct RemoteApi {
  uint32_t version;
  // 0, or a negative errno with a message in `error`, which names what is wrong and the fix.
  int (*open)(const RemoteAddress& address, const RemoteEvents& events, void** image,
              RemoteInfo* info, char* error, size_t error_size);
  // No call of `events` follows. No request is under way.
  void (*close)(void* image);
  // 0: `done` follows, perhaps before this returns. A negative errno: the request was not taken.
  int (*submit)(void* image, RemoteRequest& request);
  // The store takes nothing from the client of this image any more, as far as is known. Null: this
  // plugin finds out by requests only.
  bool (*fenced)(void* image);
  // Gives up what keeps other clients from writing to the image, until the next write. No request
  // is under way. Blocks. Null: nothing does.
  void (*yield)(void* image);
  const RemoteRecordsApi* records;  // null: there are none
};

inline constexpr uint32_t kRemoteApiVersion = 2;
inline constexpr char kRemoteApiSymbol[] = "mrpool_remote_api";

// Writes a message of open(), cut where it does not fit.
inline void set_error(char* error, size_t size, const char* text) {
  if (size == 0) return;
  size_t n = 0;
  for (; n + 1 < size && text[n] != '\0'; ++n) error[n] = text[n];
  error[n] = '\0';
}

}  // namespace mrpool::storage
