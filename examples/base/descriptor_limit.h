// File descriptors, which programs with many connections, jobs or stores run out of.
//
// Thread safety: any thread.
#pragma once

#include <string>
#include <string_view>

namespace mrpool::base {

// The soft limit becomes the hard one.
void raise_descriptor_limit();

// The message of an error. Where it reports too many open files, it adds the limit of file
// descriptors and what to do.
std::string name_missing_descriptors(std::string_view message);

}  // namespace mrpool::base
