// The store that a host was shown for each namespace identifier.
//
// A host's command names an nsid. It may arrive when the nsid already has another store, because it
// was delayed or is repeated after a reconnect. So when the store of an nsid changes:
//   1. The host first sees that the nsid has no namespace. It then discards its old disk (Linux
//      removes the disk and ends the requests queued for it).
//   2. The host is shown the new store.
//   3. Only after the host has identified the new store, its commands reach that store.
// The Namespace Attribute Changed event makes the host look at steps 1 and 2.
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
  // For a host that connects for the first time: it knows the current stores.
  explicit KnownStores(const NamespaceTable& table);

  // True if the host's commands for this nsid are meant for this store.
  bool means(const Namespace& ns) const;
  // True if the host may be shown this store; otherwise the nsid appears to have no namespace.
  bool shows(const Namespace& ns) const;

  // The host sent Identify for the nsid. False: it was shown the store. True: it was shown no
  // namespace, and may be shown the store the next time.
  bool identified(const Namespace& ns);
  // The host received the list of nsids above `above`, without those that shows() hides. Returns
  // the hidden ones; the host may be shown them the next time.
  std::vector<uint32_t> listed(const NamespaceTable& table, uint32_t above);

  // Merges the knowledge of another controller of the same host. Where the two differ, the nsid
  // gets the mark of no store.
  void add(const KnownStores& other);
  bool operator==(const KnownStores&) const = default;

 private:
  std::map<uint32_t, uint64_t> marks_;  // Namespace::mark by nsid; absent: no store
};

}  // namespace mrpool::nvmf_target
