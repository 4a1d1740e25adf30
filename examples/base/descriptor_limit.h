// File descriptors, which programs with many connections, jobs or stores run out of.
//
// Thread safety: any thread.
#pragma once

#include <string>
#include <string_view>

namespace mrpool::base {

// The soft limit becomes the hard one.
void raise_descriptor_limit();

// The message of an error. Where it says that there are too many open files it also says that file
// descriptors are missing, how many there may be, and what to do.
std::string name_missing_descriptors(std::string_view message);

}  // namespace mrpool::base
