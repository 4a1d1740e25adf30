// JSON for people to read and change.
//
// Thread safety: pure.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace mrpool::base {

// Two spaces for each level; short values are on one line. Ends with a line feed.
std::string print_json(const boost::json::value& value);

}  // namespace mrpool::base
