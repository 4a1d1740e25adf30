// What a key that does not admit an access becomes in a Terminate.
//
// A live key of another Pd or Qp gets the same answer as a key that does not exist, although RFC
// 5041 §7.1 and RFC 5040 §7.1 have codes for it. Otherwise a peer could search for live keys. The
// counters of this side distinguish the two.
//
// Thread safety: functions of values.
#pragma once

#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/terminate.h"

namespace mrpool::uiwarp {

// A tagged segment that its key does not admit. A right that is missing is RDMAP's business
// (RFC 5040 §7.2), the rest DDP's (RFC 5041 §7.1).
inline TerminateCode tagged_error(KeyError error) {
  switch (error) {
    case KeyError::kAccess:
      return term::kReadAccess;
    case KeyError::kBounds:
      return term::kTaggedBounds;
    case KeyError::kWrap:
      return term::kTaggedOffsetWrap;
    case KeyError::kNotAssociated:
    case KeyError::kInvalid:
    case KeyError::kNone:
      break;
  }
  return term::kTaggedInvalidStag;
}

// The source of a READ, when the request comes and when its data is taken: all RDMAP's
// (RFC 5040 §7.1).
inline TerminateCode source_error(KeyError error) {
  switch (error) {
    case KeyError::kAccess:
      return term::kReadAccess;
    case KeyError::kBounds:
      return term::kReadBounds;
    case KeyError::kWrap:
      return term::kReadOffsetWrap;
    case KeyError::kNotAssociated:
    case KeyError::kInvalid:
    case KeyError::kNone:
      break;
  }
  return term::kReadInvalidStag;
}

}  // namespace mrpool::uiwarp
