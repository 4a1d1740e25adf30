// Who has which secret in a configuration, and whether that is safe.
//
// Thread safety: pure.
#pragma once

#include "absl/status/status.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

// InvalidArgument names both places when
//  - a secret has two purposes (RFC 7143 §9.2.1): a peer that knows it for one could use it for the
//    other, and one that is asked for a proof could have somebody else give it. The purposes are:
//    an initiator proves itself, at as many targets as one likes; a target's account for everybody;
//    a target proves itself; discovery, in both directions;
//  - two listed initiators would share a target's account, each of which could be the other;
//  - mutual CHAP stands without one-way CHAP;
//  - an account could never be used.
absl::Status check_secrets(const Config& config);

}  // namespace mrpool::iser_target
