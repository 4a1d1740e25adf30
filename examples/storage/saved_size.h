// "size=" of a file, as a configuration file has it.
//
// Thread safety: any thread. It blocks: it looks at files.
#pragma once

#include <string>

namespace mrpool::storage {

// The text of a store, with the size that its file has by now where that is larger than its
// "size=": a start refuses a file that is larger. Any other text as it is.
std::string with_present_size(const std::string& text);

}  // namespace mrpool::storage
