// Rights of one connection: what its peer may not do, whatever the keys grant that it has.
//
// iWARP checks keys alone. Verbs let a program give a QP rights too (qp_access_flags), and both
// must admit an access. It is refused as one that the key does not admit.
//
// Thread safety: the reactor of the Qp.
#pragma once

#include "mrpool/access.h"
#include "mrpool/types.h"

namespace mrpool {
class Qp;
}  // namespace mrpool

namespace mrpool::uiwarp {

// Replaces what was denied before. `except` is a key to which it does not apply; {}: none.
// `qp` must be a Qp of uiwarp.
void deny_peer(Qp& qp, Access rights, Rkey except);

}  // namespace mrpool::uiwarp
