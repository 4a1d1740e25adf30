// Which gateway each group should belong to: evenly, with as few moves as possible.
//
// All gateways compute this from the same records, so they agree without a coordinator. The shares
// of two gateways differ by at most one group. A gateway keeps what it has up to its share; the
// gateways that have most get the larger shares. (Hashing would move few groups too, but a group of
// gateways has few groups, and hashed shares of few groups are uneven.)
//
// Thread safety: pure.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace mrpool::gateway {

// `owners`: every group with its owner, empty for none. `members`: the gateways that can own one.
// Returns each group with the gateway it should belong to; empty when there are no members.
std::map<std::string, std::string> balance(const std::map<std::string, std::string>& owners,
                                           const std::vector<std::string>& members);

}  // namespace mrpool::gateway
