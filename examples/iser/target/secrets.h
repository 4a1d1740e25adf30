// Checks that the secrets of a configuration are used safely.
//
// Thread safety: pure.
#pragma once

#include "absl/status/status.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

// InvalidArgument names both places when
//  - a secret has two purposes (RFC 7143 §9.2.1): a peer that knows it for one purpose could use it
//    for the other, or could relay a challenge to another peer that knows it. The purposes are:
//    authentication of one initiator, at any number of targets; a target's account for all
//    initiators; authentication of a target; discovery, in both directions;
//  - two listed initiators share a target's account, so that each could log in as the other;
//  - mutual CHAP is configured without one-way CHAP;
//  - an account could never be used.
absl::Status check_secrets(const Config& config);

}  // namespace mrpool::iser_target
