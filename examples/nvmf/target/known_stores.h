// What a host means by its namespace identifiers: the store that it was shown at each of them.
//
// A host's commands name an nsid, and reach the target some time after the host decided on them, or
// are repeated after a reconnect. So when another store has taken an nsid, the host first sees the
// nsid go, as if no namespace were there: only then it lets go of what it had there (Linux removes
// the disk and ends what is queued for it). After that it is shown the new store, and only when it
// has identified that one its commands reach it. The Namespace Attribute Changed event makes it
// look each time.
//
// Clauses: [base] 5.17.2 Identify, 3.7.2 and 5.2.1 events.
// Thread safety: none. Ownership: a value.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "examples/nvmf/target/subsystem.h"

namespace mrpool::nvmf_target {

class KnownStores {
 public:
  // Of a host that comes for the first time: whatever it means, it means what is there.
  explicit KnownStores(const NamespaceTable& table);

  // The host's commands for the nsid are for this store.
  bool means(const Namespace& ns) const;
  // The host may be shown this store; else it is to see nothing at the nsid.
  bool shows(const Namespace& ns) const;

  // The host identified the nsid. False: it was shown the store. True: it was shown nothing, and
  // may be shown the store when it looks again.
  bool identified(const Namespace& ns);
  // The host got the list of nsids from `above` on, without those that shows() hides. Returns
  // those, which it may be shown when it looks again.
  std::vector<uint32_t> listed(const NamespaceTable& table, uint32_t above);

  // What another controller of the same host means; where both mean something else, no store.
  void add(const KnownStores& other);
  bool operator==(const KnownStores&) const = default;

 private:
  std::map<uint32_t, uint64_t> marks_;  // Namespace::mark by nsid; absent: the host means nothing
};

}  // namespace mrpool::nvmf_target
