// Whole texts to descriptors and files that several processes may write to.
//
// Thread safety: any thread; each text is one write.
#pragma once

#include <string>

namespace mrpool::checker {

void write_all(int fd, const std::string& text);
// Appends the line and a newline. A file that cannot be opened gets nothing.
void append_line(const std::string& file, const std::string& line);

}  // namespace mrpool::checker
