#include "transport/checker/output.h"

#include <fcntl.h>
#include <unistd.h>

namespace mrpool::checker {

void write_all(int fd, const std::string& text) { (void)!::write(fd, text.data(), text.size()); }

void append_line(const std::string& file, const std::string& line) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return;
  write_all(fd, line + "\n");
  ::close(fd);
}

}  // namespace mrpool::checker
