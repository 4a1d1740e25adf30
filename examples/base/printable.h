// Text that somebody else chose, made safe for a terminal and for a log.
//
// A peer names hosts, targets, serials, keys and reasons as it likes. Printed as they are, a line
// feed forges a line of a log, and an escape sequence moves the cursor, renames the window or
// answers the shell.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <string_view>

namespace mrpool::base {

// `text` with \xNN for each byte that is not well-formed UTF-8 or part of such a character:
//   control characters            C0, DEL, C1
//   direction and lines of text   U+2028 to U+202E, U+2066 to U+2069
//   invisible                     U+200B to U+200F, U+2060 to U+2065, U+FEFF
// The rest stays as it is,
// so that the result of printable() is its own result.
std::string printable(std::string_view text);

}  // namespace mrpool::base
